"""Self-attention over a map is what a loop over positions computes, what timm has, and the form that the source prints"""
import copy,pickle
import numpy as np,pytest,torch
from simpleattn.bottleneck import MHSA2d

@pytest.fixture(autouse=True)
def seed(): torch.manual_seed(0)

def rel(a, b): return ((a-b).abs().max()/b.abs().max().clamp(min=1e-30)).item()
def ids(o): return '-'.join(f'{k}_{v}' for k,v in o.items()) if isinstance(o, dict) else 'x'.join(map(str,o)) if isinstance(o, tuple) else None

def grads(out, l, x):
    target = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    return torch.autograd.grad((out*target).sum(), [x,*l.parameters()], allow_unused=True)

def by_position(l, x):
    "One head, one query after the other"
    B,_,H,W = x.shape
    d,out = l.n_out//l.heads, x.new_zeros(B, l.n_out, H, W)
    qkv = torch.einsum('oc,bchw->bohw', l.qkv.weight[:,:,0,0], x) + (0 if l.qkv.bias is None else l.qkv.bias[:,None,None])
    q,k,v = (qkv[:,i*l.n_out:(i+1)*l.n_out] for i in range(3))
    f,g = dict(content=(d**-.5,1), both=(d**-.5,d**-.5), none=(1,1))[l.scale]
    rows = []
    for h in range(l.heads):
        c = slice(h*d, h*d+d)
        for i in range(H):
            for j in range(W):
                s = f*(q[:,c,i,j,None,None]*k[:,c]).sum(1)
                if l.position=='relative':
                    r = torch.stack([torch.stack([l.row[a-i+H-1]+l.col[b-j+W-1] for b in range(W)]) for a in range(H)])
                    s = s + g*torch.einsum('bd,yxd->byx', q[:,c,i,j], r)
                elif l.position=='absolute' and l.position_of=='key': s = s + g*torch.einsum('bd,yxd->byx', q[:,c,i,j], l.row[:,None]+l.col[None])
                elif l.position=='absolute': s = s + g*torch.einsum('d,bdyx->byx', l.row[i]+l.col[j], q[:,c])
                rows.append((s.flatten(1).softmax(1)[:,None]*v[:,c].flatten(2)).sum(-1))
    return torch.stack(rows, -1).unflatten(-1, (l.heads,H,W)).permute(0,2,1,3,4).reshape(B, l.n_out, H, W)

FORMS = [dict(position=p, scale=s) for p in ('relative','absolute','none') for s in ('content','both','none')] + [
    dict(position='absolute', position_of='query'), dict(position='absolute', scale='none', position_of='key'), dict(heads=1, bias=True),
    dict(heads=8, n_out=16)]

@pytest.mark.parametrize('kw', FORMS, ids=ids)
@pytest.mark.parametrize('size', [(1,1),(3,4),(5,2)], ids=ids)
def test_it_is_a_loop_over_positions(kw, size):
    l,x = MHSA2d(8, size, **{'heads':2,**kw}), torch.randn(2, 8, *size)
    if l.qkv.bias is not None: torch.nn.init.normal_(l.qkv.bias)
    l64 = copy.deepcopy(l).double()
    assert rel(l(x).double(), by_position(l64, x.double()))<1e-5
    x = x.double().requires_grad_()
    out,want = l64(x),by_position(l64, x)
    assert out.shape==want.shape and rel(out, want)<1e-10
    for a,b in zip(grads(out, l64, x), grads(want, l64, x), strict=True): assert (a-b).abs().max()<1e-9*b.abs().max()+1e-12

# ---- timm, and the source

@pytest.mark.parametrize('scale', ['content','both'])
@pytest.mark.parametrize('size', [(4,4),(3,7),(6,2)], ids=ids)
@pytest.mark.parametrize('kw', [dict(heads=4), dict(heads=2, n_out=32), dict(heads=1, bias=True)], ids=ids)
def test_timm_agrees(scale, size, kw):
    from timm.layers.bottleneck_attn import BottleneckAttn
    ours = MHSA2d(16, size, scale=scale, **kw)
    theirs = BottleneckAttn(16, kw.get('n_out'), size, num_heads=kw['heads'], qkv_bias=kw.get('bias', False), scale_pos_embed=scale=='both')
    names = {'qkv.weight':'qkv.weight','qkv.bias':'qkv.bias','row':'pos_embed.height_rel','col':'pos_embed.width_rel'}
    with torch.no_grad():
        for p in theirs.parameters(): p.normal_(std=.4)
    ours.load_state_dict({k:theirs.state_dict()[o] for k,o in names.items() if o in theirs.state_dict()}, strict=True)
    assert len(ours.state_dict())==len(theirs.state_dict())
    x = torch.randn(2, 16, *size, requires_grad=True)
    a,b,their = ours(x),theirs(x),dict(theirs.named_parameters())
    assert rel(a, b)<1e-5
    target = torch.randn_like(a)
    ga = torch.autograd.grad((a*target).sum(), [x,*ours.parameters()])
    gb = torch.autograd.grad((b*target).sum(), [x,*(their[names[k]] for k,_ in ours.named_parameters())])
    for p,q in zip(ga, gb): assert rel(p, q)<1e-4

def test_the_two_scalings_differ():
    x,a = torch.randn(1, 16, 4, 4), MHSA2d(16, 4, scale='content')
    for s in ('both','none'):
        b = MHSA2d(16, 4, scale=s)
        b.load_state_dict(a.state_dict())
        assert rel(a(x), b(x))>1e-2

@pytest.mark.parametrize('w,h', [(4,4),(3,5)])
def test_the_printed_form_of_the_source_is_reproduced(w, h):
    """The blog's class: biased projections of n channels, one head, no scaling; e[i,j] = q_i.k_j + (rel_h + rel_w)_i . q_j, softmax over j, sum of v_j.
    It calls the first axis of the map width: rel_w varies along it, rel_h along the second"""
    C = 8
    W,b = [torch.randn(C, C)/3 for _ in range(3)], [torch.randn(C) for _ in range(3)]
    rel_h,rel_w,x = torch.randn(1, C, 1, h), torch.randn(1, C, w, 1), torch.randn(2, C, w, h)
    q,k,v = (torch.einsum('oc,bcwh->bowh', m, x)+o[:,None,None] for m,o in zip(W, b))
    want = torch.empty(2, C, w, h)
    for i in range(w):
        for j in range(h):
            place = rel_h[0,:,0,j]+rel_w[0,:,i,0]
            e = (q[:,:,i,j,None,None]*k).sum(1) + (place[:,None,None]*q).sum(1)
            p = (e-e.amax((1,2), keepdim=True)).exp()
            want[:,:,i,j] = (v*p[:,None]).sum((2,3))/p.sum((1,2))[:,None]
    l = MHSA2d(C, (w,h), heads=1, position='absolute', scale='none', bias=True)
    with torch.no_grad():
        l.qkv.weight.copy_(torch.cat(W)[...,None,None]); l.qkv.bias.copy_(torch.cat(b))
        l.row.copy_(rel_w[0,:,:,0].T); l.col.copy_(rel_h[0,:,0].T)
    assert rel(l(x), want)<1e-5
    other = MHSA2d(C, (w,h), heads=1, position='absolute', scale='none', bias=True, position_of='key')
    other.load_state_dict(l.state_dict())
    assert rel(other(x), want)>1e-2
    from simpleattn.variants import get_variant
    kw = get_variant('botnet-source').kwargs
    again = get_variant('botnet-source').build()(C, (w,h), **kw)
    again.load_state_dict(l.state_dict())
    assert torch.equal(again(x), l(x))

# ---- positions

@pytest.mark.parametrize('size', [[3,4], torch.Size((3,4)), np.array([3,4]), (np.int64(3),np.int64(4))], ids=str)
def test_a_size_may_be_any_pair_of_whole_numbers(size):
    l = MHSA2d(8, size)
    assert l.size==(3,4) and [type(n) for n in l.size]==[int,int] and l(torch.randn(2, 8, 3, 4)).shape==(2,8,3,4)

def test_without_positions_any_size_and_any_order():
    l,perm = MHSA2d(8, 4, heads=2, position='none'), torch.randperm(35)
    x = torch.randn(1, 8, 5, 7)
    def shuffle(t): return t.flatten(2)[...,perm].view_as(t)
    assert rel(l(shuffle(x)), shuffle(l(x)))<1e-5 and not l.traits['fixed_size']
    assert l(torch.randn(1, 8, 1, 9)).shape==(1,8,1,9)

@pytest.mark.parametrize('position', ['relative','absolute'])
def test_positions_tell_the_order_and_fix_the_size(position):
    l,x,perm = MHSA2d(8, (5,7), heads=2, position=position), torch.randn(1, 8, 5, 7), torch.randperm(35)
    def shuffle(t): return t.flatten(2)[...,perm].view_as(t)
    assert rel(l(shuffle(x)), shuffle(l(x)))>1e-2 and l.traits['fixed_size'] and l.traits is not MHSA2d.traits
    for wrong in ((7,5),(35,1),(5,8),(1,1)):
        with pytest.raises(ValueError, match=rf'maps of 5 x 7 and got {wrong[0]} x {wrong[1]}.*create_model'): l(torch.randn(1, 8, *wrong))
        with pytest.raises(ValueError, match='5 x 7'): l.attention_map(torch.randn(1, 8, *wrong))

def test_relative_positions_know_offsets_only():
    "The logits' part by position is the same wherever the pair stands; absolute ones are not"
    for position,same in (('relative',True),('absolute',False)):
        l = MHSA2d(8, 6, heads=2, position=position)
        with torch.no_grad(): l.qkv.weight[8:16] = 0
        x = torch.ones(1, 8, 6, 6) # every query is the same: the logits are those of positions alone
        s = l.attention_map(x).log().view(1, 2, 6, 6, 6, 6)
        a,b = (s[:,:,i,j,i+1,j+2]-s[:,:,i,j,i,j] for i,j in ((0,0),(3,2)))
        assert (rel(a, b)<1e-4)==same

def test_a_row_of_the_map_is_an_output_position():
    l,x = MHSA2d(8, (2,3), heads=1, position='none', scale='none'), torch.randn(1, 8, 2, 3)
    q,k,_ = l.qkv(x)[0].flatten(1).chunk(3)
    for i in range(6): assert torch.allclose(l.attention_map(x)[0,0,i], torch.stack([q[:,i]@k[:,j] for j in range(6)]).softmax(0), atol=1e-5)

@pytest.mark.parametrize('kw', FORMS, ids=ids)
def test_rows_sum_to_1_and_map_and_values_give_the_output(kw):
    l,x = MHSA2d(8, (3,5), **{'heads':2,**kw}).eval(), torch.randn(2, 8, 3, 5)
    A,v = l.attention_map(x),l.values(x)
    assert A.shape==(2,l.heads,15,15) and v.shape==(2,l.heads,l.n_out//l.heads,15) and not A.requires_grad
    assert torch.allclose(A.sum(-1), torch.ones(2, l.heads, 15), atol=1e-5)
    assert rel((v@A.mT).reshape(2, l.n_out, 3, 5), l(x))<1e-5

# ---- every kind of use

@pytest.mark.parametrize('kw',
    [dict(), dict(position='absolute'), dict(position='none'), dict(scale='both'), dict(scale='none', position='absolute', bias=True, heads=1)], ids=ids)
def test_bfloat16(kw):
    l,x = MHSA2d(32, (5,6), **kw), torch.randn(2, 32, 5, 6).requires_grad_()
    ref,want = l(x),grads(l(x), l, x)
    with torch.autocast('cpu', torch.bfloat16): out = l(x)
    assert out.dtype==torch.bfloat16 and rel(out.float(), ref)<5e-2
    for (k,_),a,b in zip([('x',0),*l.named_parameters()], grads(out.float(), l, x), want):
        assert a.dtype==torch.float32 and (k=='qkv.bias' or (a-b).norm()<8e-2*b.norm()), k
    whole = copy.deepcopy(l).bfloat16()(x.bfloat16())
    assert whole.dtype==torch.bfloat16 and rel(whole.float(), ref)<8e-2

def test_channels_last_train_and_eval():
    l,x = MHSA2d(16, (5,6)),torch.randn(2, 16, 5, 6)
    for mode in (True,False): assert rel(l.train(mode)(x.to(memory_format=torch.channels_last)), l(x))<1e-5

def test_save_load_copy_pickle(tmp_path):
    l,x = MHSA2d(16, (5,6)),torch.randn(2, 16, 5, 6)
    torch.save(l.state_dict(), tmp_path/'w.pt')
    again = MHSA2d(16, (5,6))
    assert not torch.equal(again(x), l(x))
    again.load_state_dict(torch.load(tmp_path/'w.pt', weights_only=True), strict=True)
    for o in (again, copy.deepcopy(l), pickle.loads(pickle.dumps(l))): assert torch.equal(o(x), l(x)) and o.traits==l.traits

def test_drawing_again_forgets_every_weight():
    a,b,states = MHSA2d(16, 4, bias=True),MHSA2d(16, 4, bias=True),[]
    with torch.no_grad():
        for p in b.parameters(): p.fill_(9)
    for l in (a,b): torch.manual_seed(7); l.reset_parameters(); states.append(copy.deepcopy(l.state_dict()))
    assert all(torch.equal(v, states[1][k]) for k,v in states[0].items()) and (a.qkv.bias==0).all()
    a.reset_parameters()
    assert not any(torch.equal(p, states[0][k]) for k,p in a.named_parameters() if k!='qkv.bias')

def test_parameters():
    "3 C n_out for the projections, 2n-1 vectors an axis where relative, n where absolute, each as wide as a head"
    def count(*a, **kw): return sum(p.numel() for p in MHSA2d(*a, **kw).parameters())
    assert count(64, (7,5))==3*64*64 + (13+9)*16
    assert count(64, 7, heads=1, position='absolute', bias=True)==3*64*64 + 3*64 + 14*64
    assert count(64, 7, position='none', n_out=32)==3*64*32

def test_flops_by_hand():
    C,N = 64,49
    assert MHSA2d(C, 7).flops(N)==MHSA2d(C, 7, position='absolute', heads=1).flops(N)==2*(3*C*C*N + 3*C*N*N)
    assert MHSA2d(C, 7, position='none').flops(N)==2*(3*C*C*N + 2*C*N*N)
    assert MHSA2d(C, 7, n_out=128).flops(N)==2*(3*C*128*N + 3*128*N*N)

@pytest.mark.slow
def test_compiles_in_one_graph():
    l,x = MHSA2d(16, (3,4)),torch.randn(2, 16, 3, 4)
    assert rel(torch.compile(copy.deepcopy(l), backend='aot_eager', fullgraph=True)(x), l(x))<1e-5

@pytest.mark.parametrize('kw,says', [(dict(heads=3), '16 channels cannot be shared out to 3 heads: choose a divisor of 16'), (dict(heads=0), 'divisor'),
    (dict(position='rel'), "'rel': choose relative, absolute or none"),
    (dict(scale='all'), "'all': choose content, both or none"), (dict(position_of='value'), "'value': choose key or query"), (dict(size=0), 'at least 1'),
    (dict(size=(4,0)), 'at least 1')], ids=ids)
def test_a_wrong_option_is_explained(kw, says):
    with pytest.raises(ValueError, match=says): MHSA2d(16, **{'size':4,**kw})
