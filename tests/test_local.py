"""Attention in windows is what a loop over pixels computes, and never unfolds; the stems likewise"""
import copy,math,pickle
import pytest,torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from simpleattn.local import AttentionStem,LocalSelfAttention,axis_blocks,sinusoids

SIZES = [(1,1),(5,7),(12,13),(11,3),(3,17)]
KINDS = ['spatially_aware','standalone','conv_values']

@pytest.fixture(autouse=True)
def seed(): torch.manual_seed(0)

def rel(a, b): return ((a-b).abs().max()/b.abs().max().clamp(min=1e-30)).item()
def ids(o): return '-'.join(f'{k}_{v}' for k,v in o.items()) if isinstance(o, dict) else 'x'.join(map(str,o)) if isinstance(o, tuple) else None

# ---- the layer as a loop

def waves(n_channels, H, W):
    "Channel 2t of each half is the sine, 2t+1 the cosine, of row (first half) or column times 10000^(-2t/half)"
    half,res = (n_channels+1)//2, torch.empty(n_channels, H, W, dtype=torch.float64)
    for c in range(n_channels):
        n,t = (half,c) if c<half else (n_channels-half,c-half)
        for i in range(H):
            for j in range(W): res[c,i,j] = (math.cos if t%2 else math.sin)((i if c<half else j)*1e4**(-(t-t%2)/n))
    return res

def times(conv, x): return torch.einsum('oc,bchw->bohw', conv.weight[:,:,0,0], x)

def around(i, n, before, window): # The part of a window that is in the image
    return range(max(0,i-before), min(n,i-before+window))

def block_of(i, n, before, window): return range(i//window*window, min(n,i//window*window+window))

def by_pixel(l, x, value=None, at=around):
    "One output position after the other, one head after the other; `value(i, j, rows, cols)` gives (B, C, rows, cols)"
    B,_,H,W = x.shape
    d,before,zero = l.n_out//l.heads, l.window//2, l.window-1 if at is block_of else l.window//2
    place = x + waves(x.shape[1], H, W).to(x.dtype) if l.position=='absolute' else x
    q,v = times(l.query, place), None if value else times(l.value, x)
    k = times(l.key, place) if l.content else None
    cols_out = []
    for i in range(H):
        for j in range(W):
            ys,xs,heads = at(i, H, before, l.window), at(j, W, before, l.window), []
            vals = value(i, j, ys, xs) if value else v[:,:,ys.start:ys.stop,xs.start:xs.stop]
            for h in range(l.heads):
                c = slice(h*d, h*d+d)
                mine,s = q[:,c,i,j], 0
                if l.content: s = s + (mine[...,None,None]*k[:,c,ys.start:ys.stop,xs.start:xs.stop]).sum(1)
                if l.position=='relative':
                    r = torch.stack([torch.stack([torch.cat([l.row[h,a-i+zero], l.col[h,b-j+zero]]) for b in xs]) for a in ys])
                    s = s + torch.einsum('bd,yxd->byx', mine, r)
                p = s.flatten(1).softmax(-1)
                heads.append((vals[:,c].flatten(2)*p[:,None]).sum(-1))
            cols_out.append(torch.cat(heads, 1))
    return torch.stack(cols_out, -1).unflatten(-1, (H,W))

def grads(out, l, x):
    target = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    return torch.autograd.grad((out*target).sum(), [x,*l.parameters()])

def same_as(reference, l, x, *args):
    "Output in float32 to 1e-5; output and every gradient in float64"
    want64 = reference(copy.deepcopy(l).double(), x.double(), *args)
    assert rel(l(x).double(), want64)<1e-5
    l,x = copy.deepcopy(l).double(), x.double().requires_grad_()
    out,want = l(x),reference(l, x, *args)
    assert out.shape==want.shape and rel(out, want)<1e-6
    for a,b in zip(grads(out, l, x), grads(want, l, x), strict=True):
        assert (a-b).abs().max()<=1e-6*b.abs().max()+1e-9

@pytest.mark.parametrize('window,size',
    [pytest.param(w, s, marks=[pytest.mark.slow]*(s==(12,13) and w in (1,3,5,11))) for w in (1,3,4,5,7,11) for s in SIZES], ids=ids)
def test_it_is_a_loop_over_pixels(window, size):
    same_as(by_pixel, LocalSelfAttention(6, 8, window, heads=2), torch.randn(2, 6, *size))

@pytest.mark.parametrize('kw',
    [dict(position='absolute'), dict(position='none'), dict(content=False), dict(heads=1), dict(heads=4), dict(position='none', heads=8)], ids=ids)
@pytest.mark.parametrize('window,size', [(3,(9,10)),(4,(5,11)),(7,(6,6))])
def test_every_option_is_a_loop_over_pixels(kw, window, size):
    same_as(by_pixel, LocalSelfAttention(8, None, window, **{'heads':2,**kw}), torch.randn(2, 8, *size))

def test_large_logits_stay_finite_and_agree():
    l = LocalSelfAttention(8, window=5, heads=2)
    with torch.no_grad(): l.query.weight.mul_(300)
    same_as(by_pixel, l, torch.randn(1, 8, 9, 6))

@pytest.mark.parametrize('n', [1,5,16])
def test_sinusoids_of_rows_then_columns(n): assert torch.allclose(sinusoids(n, 7, 5).double(), waves(n, 7, 5), atol=1e-6)

def test_what_goes_in_and_out():
    l = LocalSelfAttention(6, 8, heads=4)
    assert l(torch.randn(2, 6, 9, 5)).shape==(2,8,9,5) and (l.n_in,l.n_out)==(6,8)
    assert {k:tuple(v.shape) for k,v in l.state_dict().items()}=={'query.weight':(8,6,1,1), 'key.weight':(8,6,1,1), 'value.weight':(8,6,1,1), 'row':(4,7,1),
        'col':(4,7,1)}
    assert {k for k in LocalSelfAttention(16, content=False).state_dict()}=={'query.weight','value.weight','row','col'}
    assert {k for k in LocalSelfAttention(16, position='none').state_dict()}=={'query.weight','key.weight','value.weight'}
    assert (LocalSelfAttention(16).window,LocalSelfAttention(16).heads,LocalSelfAttention(16).position)==(7,8,'relative')

# ---- what a window sees

FORMS = [dict(), dict(position='absolute'), dict(position='none'), dict(content=False), dict(window=4), dict(score='channelwise')]

@pytest.mark.parametrize('kw', FORMS, ids=ids)
@pytest.mark.parametrize('at', [(0,0),(6,5),(10,12)], ids=ids)
def test_a_change_is_seen_within_the_window_and_nowhere_else(kw, at):
    l,x = LocalSelfAttention(8, **{'window':5,'heads':2,**kw}), torch.randn(1, 8, 11, 13)
    y = x.clone()
    y[:,:,at[0],at[1]] += 1
    with torch.no_grad(): changed = (l(x)!=l(y)).any(1)[0]
    before,after = l.window//2, l.window-1-l.window//2
    want = torch.tensor([[-before<=at[0]-i<=after and -before<=at[1]-j<=after for j in range(13)] for i in range(11)])
    assert torch.equal(changed, want)

def test_neighbours_outside_the_image_get_no_weight():
    "Values that are all the same come out as they are, at the border too; channelwise, the zeros beyond it get weight"
    x = torch.ones(1, 8, 6, 9)
    for kw in FORMS:
        l = LocalSelfAttention(8, **{'window':5,'heads':2,**kw})
        out,v = l(x),l.value(x)
        if kw.get('score')!='channelwise': assert torch.allclose(out, v, atol=1e-5)
        else: assert torch.allclose(out[...,2:4,2:7], v[...,2:4,2:7], atol=1e-5) and (out[...,0,0].abs()<.95*v[...,0,0].abs()).all()

@pytest.mark.parametrize('kw', [o for o in FORMS if o.get('position')!='absolute'], ids=ids)
def test_shifting_the_image_shifts_the_output_away_from_the_border(kw):
    l,x = LocalSelfAttention(8, **{'window':5,'heads':2,**kw}), torch.randn(1, 8, 20, 21)
    a,b = l(x[...,:16,:16])[...,2:-2,2:-2], l(x[...,3:19,2:18])[...,2:-2,2:-2]
    assert rel(a[...,3:,2:], b[...,:-3,:-2])<1e-5

def test_absolute_positions_tell_places_apart():
    l,x = LocalSelfAttention(8, window=5, heads=2, position='absolute'), torch.randn(1, 8, 20, 21)
    a,b = l(x[...,:16,:16])[...,2:-2,2:-2], l(x[...,3:19,2:18])[...,2:-2,2:-2]
    assert rel(a[...,3:,2:], b[...,:-3,:-2])>1e-2

@pytest.mark.parametrize('kw', FORMS, ids=ids)
def test_only_positions_tell_the_neighbours_order(kw):
    "Neighbours change places: without positions the position between them sees no difference"
    l,x = LocalSelfAttention(8, **{'window':5,'heads':2,**kw}), torch.randn(1, 8, 9, 9)
    y = x.clone()
    y[:,:,3,3],y[:,:,5,4] = x[:,:,5,4],x[:,:,3,3]
    diff = rel(l(y)[...,4,4], l(x)[...,4,4])
    assert diff<1e-5 if kw.get('position')=='none' else diff>1e-3

def test_without_positions_a_window_over_the_whole_map_is_permutation_equivariant():
    x,perm = torch.randn(1, 8, 4, 4), torch.randperm(16)
    def shuffle(t): return t.flatten(2)[...,perm].view_as(t)
    for position in ('none','relative','absolute'):
        l = LocalSelfAttention(8, window=7, heads=2, position=position)
        assert (rel(l(shuffle(x)), shuffle(l(x)))<1e-5)==(position=='none')

# ---- reading it

@pytest.mark.parametrize('kw', FORMS, ids=ids)
@pytest.mark.parametrize('size', [(5,7),(12,13),(3,3)], ids=ids)
def test_map_and_values_give_the_output(kw, size):
    l,x = LocalSelfAttention(6, 8, **{'window':5,'heads':2,**kw}).eval(), torch.randn(2, 6, *size)
    A,v = l.attention_map(x),l.values(x)
    heads,N,w = (8 if kw.get('score') else 2), math.prod(size), l.window**2
    assert A.shape==(2,heads,N,w) and v.shape==(2,heads,8//heads,N,w) and not A.requires_grad and not v.requires_grad
    assert torch.allclose(A.sum(-1), torch.ones(2, heads, N), atol=1e-5)
    assert rel(torch.einsum('bhnw,bhdnw->bhdn', A, v).reshape(2, 8, *size), l(x))<1e-5

def test_a_row_of_the_map_is_the_window_around_its_position_row_by_row():
    l,x = LocalSelfAttention(8, window=3, heads=2), torch.randn(1, 8, 6, 7)
    A,v,q,k = l.attention_map(x),l.values(x),l.query(x),l.key(x)
    value = l.value(x)
    for i,j in ((2,3),(0,0),(5,6),(5,2)):
        s = torch.full((9,), -math.inf)
        for o in range(9):
            a,b = i+o//3-1, j+o%3-1
            if 0<=a<6 and 0<=b<7:
                s[o] = (q[0,4:,i,j]*(k[0,4:,a,b]+torch.cat([l.row[1,o//3],l.col[1,o%3]]))).sum()
                assert torch.equal(v[0,1,:,i*7+j,o], value[0,4:,a,b])
            else: assert A[0,1,i*7+j,o]==0 and (v[0,1,:,i*7+j,o]==0).all()
        assert torch.allclose(A[0,1,i*7+j], s.softmax(0), atol=1e-5)

# ---- the form of the public implementation

def each_channel(l, x):
    "Softmax for each channel apart, no sum over a head; zeros beyond the border take part"
    B,_,H,W = x.shape
    q,k,v = (times(o, x) for o in (l.query,l.key,l.value))
    per = l.n_out//2//l.heads
    out = []
    for c in range(l.n_out):
        for i in range(H):
            for j in range(W):
                logits,vals = [], []
                for o in range(l.window**2):
                    dy,dx = divmod(o, l.window)
                    a,b = i+dy-l.window//2, j+dx-l.window//2
                    there = 0<=a<H and 0<=b<W
                    r = 0. if l.position!='relative' else l.row[c//per,dy,c%per] if c<l.n_out//2 else l.col[(c-l.n_out//2)//per,dx,(c-l.n_out//2)%per]
                    logits.append(q[:,c,i,j]*((k[:,c,a,b] if there else 0.)+r))
                    vals.append(v[:,c,a,b] if there else torch.zeros(B, dtype=x.dtype))
                out.append((torch.stack(logits).softmax(0)*torch.stack(vals)).sum(0))
    return torch.stack(out, 1).reshape(B, l.n_out, H, W)

@pytest.mark.parametrize('kw,size',
    [(dict(window=3), (4,3)), (dict(window=4), (2,5)), (dict(window=3, position='none'), (3,3)), (dict(window=5, heads=1), (3,2))])
def test_channelwise_is_the_public_form(kw, size):
    same_as(each_channel, LocalSelfAttention(3, 4, **{'heads':2,**kw}, score='channelwise'), torch.randn(2, 3, *size))

def test_channelwise_with_more_channels_than_parts():
    "Parts of unequal size, and each with the embeddings of its own channels"
    same_as(each_channel, LocalSelfAttention(2, 18, window=3, heads=3, score='channelwise'), torch.randn(1, 2, 3, 2))

def test_channelwise_is_not_the_papers_attention():
    a,b = (LocalSelfAttention(8, window=3, heads=2, score=o) for o in ('dot','channelwise'))
    b.load_state_dict(a.state_dict())
    x = torch.randn(1, 8, 5, 5)
    assert rel(b(x), a(x))>.1

def test_channelwise_gradients_by_differences():
    l = LocalSelfAttention(2, 4, window=3, heads=2, score='channelwise').double()
    assert torch.autograd.gradcheck(lambda x, *p: torch.func.functional_call(l, dict(zip(dict(l.named_parameters()), p)), (x,)),
        (torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True), *(p.detach().requires_grad_() for p in l.parameters())))

# ---- the windows are never unfolded

class Largest(TorchDispatchMode):
    "Elements of the largest tensor that an operation makes"
    def __init__(self): super().__init__(); self.n = 0
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in (out if isinstance(out, (tuple,list)) else [out]):
            if isinstance(t, torch.Tensor): self.n = max(self.n, t.numel())
        return out

def largest(l, x):
    with Largest() as m: l(x).sum().backward()
    return m.n

def unfolded(l, x):
    "A correct form that unfolds"
    B,_,H,W = x.shape
    q,k,v = l.query(x),l.key(x),l.value(x)
    kw,vw = (F.unfold(t, l.window, padding=l.window//2).view(B, l.heads, l.n_out//l.heads, l.window**2, H*W) for t in (k,v))
    there = F.unfold(torch.ones_like(x[:,:1]), l.window, padding=l.window//2)[:,None]
    r = torch.cat([l.row[:,:,None].expand(-1,-1,l.window,-1), l.col[:,None].expand(-1,l.window,-1,-1)], -1).flatten(1,2)
    q = q.view(B, l.heads, -1, H*W)
    s = torch.einsum('bhdn,bhdwn->bhwn', q, kw) + torch.einsum('bhdn,hwd->bhwn', q, r)
    return torch.einsum('bhwn,bhdwn->bhdn', s.masked_fill(there==0, -math.inf).softmax(2), vw).reshape(B, -1, H, W)

@pytest.mark.parametrize('kw', [dict(), dict(position='absolute'), dict(position='none'), dict(content=False), dict(window=11), dict(window=5)], ids=ids)
def test_windows_are_never_unfolded_forwards_or_backwards(kw):
    l,x = LocalSelfAttention(32, **{'window':7,'heads':4,**kw}), torch.randn(2, 32, 20, 20, requires_grad=True)
    assert largest(l, x)<=l.window**2*x.numel()/2.5

def test_an_unfolded_form_agrees_and_is_found_out():
    l,x = LocalSelfAttention(32, window=7, heads=4), torch.randn(2, 32, 20, 20, requires_grad=True)
    assert rel(l(x), unfolded(l, x))<1e-5
    assert largest(lambda x: unfolded(l, x), x)>=l.window**2*x.numel()
    one = LocalSelfAttention(32, window=7, heads=4, score='channelwise')
    assert largest(one, x)<=l.window**2*x.numel()/4

def test_blocks_share_their_keys():
    "Four queries an axis, a halo before and after; short axes are one block"
    b,K,left,off,seen = axis_blocks(12, 3, 3)
    assert (b,K,left,tuple(off.shape),tuple(seen.shape))==(4,10,3,(4,10),(3,4,10))
    assert seen.sum()==sum(len(around(i, 12, 3, 7)) for i in range(12))
    assert axis_blocks(8, 3, 3)[:3]==(8,8,0)

# ---- every kind of use

@pytest.mark.parametrize('kw', FORMS, ids=ids)
def test_bfloat16(kw):
    l,x = LocalSelfAttention(16, **{'window':5,'heads':2,**kw}), torch.randn(2, 16, 9, 10).requires_grad_()
    ref,want = l(x),grads(l(x), l, x)
    with torch.autocast('cpu', torch.bfloat16): out = l(x)
    assert out.dtype==(torch.float32 if kw.get('score') else torch.bfloat16) and rel(out.float(), ref)<5e-2
    for a,b in zip(grads(out.float(), l, x), want): assert a.dtype==torch.float32 and (a-b).norm()<8e-2*b.norm()
    whole = copy.deepcopy(l).bfloat16()(x.bfloat16())
    assert whole.dtype==torch.bfloat16 and rel(whole.float(), ref)<8e-2

@pytest.mark.parametrize('make',
    [*(lambda k=k: LocalSelfAttention(16, **{'window':5,'heads':2,**k}) for k in FORMS), *(lambda k=k: AttentionStem(16, 16, k) for k in KINDS)])
def test_channels_last_train_and_eval(make):
    l,x = make(),torch.randn(2, 16, 9, 10)
    ref = l(x)
    assert rel(l(x.to(memory_format=torch.channels_last)), ref)<1e-5
    a,b = (copy.deepcopy(l).to(memory_format=torch.channels_last).train(o)(x.to(memory_format=torch.channels_last)) for o in (True,False))
    assert rel(a, ref)<1e-5
    assert rel(b, copy.deepcopy(l).eval()(x))<1e-5 and (isinstance(l, AttentionStem) or rel(b, ref)<1e-5)

@pytest.mark.parametrize('make', [lambda: LocalSelfAttention(8, window=5, heads=2), lambda: LocalSelfAttention(8, window=5, heads=2, score='channelwise'),
    lambda: AttentionStem(3, 16), lambda: AttentionStem(3, 16, 'conv_values', 1)])
def test_save_load_copy_pickle(make, tmp_path):
    l = make()
    x = torch.randn(2, 8 if isinstance(l, LocalSelfAttention) else 3, 9, 10)
    l(x)
    l.eval()
    torch.save(l.state_dict(), tmp_path/'w.pt')
    again = make().eval()
    assert not torch.equal(again(x), l(x))
    again.load_state_dict(torch.load(tmp_path/'w.pt', weights_only=True), strict=True)
    for o in (again, copy.deepcopy(l), pickle.loads(pickle.dumps(l))): assert torch.equal(o(x), l(x))

@pytest.mark.parametrize('make',
    [lambda: LocalSelfAttention(8, window=5, heads=2), lambda: LocalSelfAttention(16, content=False), *(lambda k=k: AttentionStem(3, 16, k) for k in KINDS)])
def test_drawing_again_forgets_every_weight(make):
    "The generator's state decides, not what the weights were; nothing is left undrawn"
    a,b = make(),make()
    with torch.no_grad():
        for p in b.parameters(): p.fill_(9)
    states = []
    for l in (a,b): torch.manual_seed(7); l.reset_parameters(); states.append(copy.deepcopy(l.state_dict()))
    assert all(torch.equal(v, states[1][k]) for k,v in states[0].items())
    a.reset_parameters()
    assert not any(torch.equal(p, states[0][k]) for k,p in a.named_parameters() if not k.startswith('norm'))

@pytest.mark.parametrize('kw', [dict(), dict(heads=1), dict(content=False), dict(position='none')], ids=ids)
def test_logits_start_with_the_variance_of_their_terms(kw):
    "Unit variance in gives unit variance to q.k and to q.r, whatever the width of a head"
    l,x = LocalSelfAttention(256, **{'heads':8,'window':1,**kw}), torch.randn(4, 256, 12, 12)
    q,k,v = l.project(x)
    d = 256//l.heads
    assert abs(v.var()-1)<.1 and abs(q.var()*d-1)<.1
    if l.content: assert abs((q*k.roll(1, -1)).unflatten(1, (l.heads,d)).sum(2).var()-1)<.25

def test_what_is_kept_of_an_axis_serves_every_mode():
    "Whatever is kept from a pass under inference mode must not break a later training step"
    l,x = LocalSelfAttention(8, window=3, heads=2), torch.randn(1, 8, 17, 19)
    with torch.inference_mode(): a = l(x)
    b = l(x)
    b.sum().backward()
    assert torch.equal(a, b) and l.row.grad.abs().sum()>0

def test_a_meta_or_fake_pass_leaves_nothing_behind():
    from torch._subclasses.fake_tensor import FakeTensorMode
    l,x = LocalSelfAttention(8, window=3, heads=2), torch.randn(1, 8, 17, 19)
    assert copy.deepcopy(l).to('meta')(x.to('meta')).shape==x.shape
    with FakeTensorMode(allow_non_fake_inputs=True) as mode: assert l(mode.from_tensor(x)).shape==x.shape
    assert type(l(x)) is torch.Tensor and l(x).isfinite().all()

@pytest.mark.parametrize('make', [lambda: LocalSelfAttention(8, window=3, heads=2),
    pytest.param(lambda: LocalSelfAttention(8, window=3, heads=2, score='channelwise'), marks=pytest.mark.slow),
    *(pytest.param(lambda k=k,s=s: AttentionStem(8, 16, k, s), marks=pytest.mark.slow) for k in KINDS for s in (1,4))])
def test_compiles_in_one_graph(make):
    net,x = make(),torch.randn(2, 8, 10, 9)
    twin = copy.deepcopy(net)
    a,b = torch.compile(net, backend='aot_eager', fullgraph=True)(x),twin(x)
    a.square().sum().backward(); b.square().sum().backward()
    assert rel(a, b)<1e-5
    for (k,p),q in zip(net.named_parameters(), twin.parameters()): assert (p.grad-q.grad).abs().max()<1e-4*q.grad.abs().max()+1e-6, k

@pytest.mark.parametrize('kw,says',
    [(dict(window=0), 'window is 0: give'), (dict(window=-3), 'window'), (dict(position='realtive'), "'realtive': choose relative, absolute or none"),
    (dict(score='cosine'), "'cosine': choose dot or channelwise"), (dict(content=False, position='none'), "needs position='relative' and score='dot'"),
    (dict(content=False, score='channelwise'), "needs position='relative'"),
    (dict(heads=3), '16 channels cannot be shared out to 3 heads: choose a divisor of 16'), (dict(heads=0), 'divisor'),
    (dict(heads=16), 'choose fewer heads')], ids=ids)
def test_a_wrong_option_is_explained(kw, says):
    with pytest.raises(ValueError, match=says): LocalSelfAttention(16, **kw)

@pytest.mark.parametrize('score', ['dot','channelwise'])
def test_an_odd_number_of_channels_is_explained_with_a_way_out(score):
    "One head cannot become fewer"
    with pytest.raises(ValueError, match='(?i)7 channels.*(position|even)'): LocalSelfAttention(7, heads=1, score=score)
    assert LocalSelfAttention(7, heads=7, position='none', score=score)(torch.randn(1, 7, 3, 3)).shape==(1,7,3,3)

@pytest.mark.parametrize('kw,says', [(dict(kind='conv'), "'conv': choose spatially_aware, standalone or conv_values"),
    (dict(stride=2), 'stride is 2.* 1, or that of its window, 4'), (dict(heads=3), 'divisor of 16')], ids=ids)
def test_a_wrong_option_of_a_stem_is_explained(kw, says):
    with pytest.raises(ValueError, match=says): AttentionStem(3, 16, **kw)

# ---- flops

def test_flops_by_hand():
    "64 channels in and out of 100 positions: projections 64 x 64; the window's products at every position, those at the border in full"
    C,N = 64,100
    assert LocalSelfAttention(C).flops(N)==2*N*(3*C*C + 3*49*C)
    assert LocalSelfAttention(C, position='none').flops(N)==LocalSelfAttention(C, position='absolute').flops(N)==2*N*(3*C*C + 2*49*C)
    assert LocalSelfAttention(C, content=False).flops(N)==2*N*(2*C*C + 2*49*C)
    assert LocalSelfAttention(C, 32, window=11, heads=2).flops(N)==2*N*(3*C*32 + 3*121*32)
    assert LocalSelfAttention(C, heads=1).flops(N)==LocalSelfAttention(C).flops(N)

def test_flops_of_stems_by_hand():
    "3 channels to 64; windows of 16; values by one matrix, by 4 matrices and their mixing, by a 4 x 4 convolution"
    N,q_k,seen = 256, 2*3*64, 3*16*64
    assert AttentionStem(3, 64, 'standalone').flops(N)==2*N*(q_k + 3*64 + seen)
    assert AttentionStem(3, 64, 'conv_values').flops(N)==2*N*(q_k + 16*3*64 + seen)
    assert AttentionStem(3, 64).flops(N)==2*N*(q_k + 4*(3*64+64) + seen)
    assert AttentionStem(3, 64, stride=1).flops(N)==2*N*(q_k + 4*(3*64+16*64) + seen)

# ---- stems

def mixture(l):
    "p(a, b, m) of the paper, one number after the other"
    p = torch.empty(l.mixtures, l.window, l.window, dtype=l.place_row.dtype)
    for a in range(l.window):
        for b in range(l.window): p[:,a,b] = torch.stack([(l.place_row[a]+l.place_col[b])@l.mixture[m] for m in range(l.mixtures)]).softmax(0)
    return p

def stem_by_pixel(l, x):
    at,before = (block_of,0) if l.block else (around,l.window//2)
    if l.kind=='standalone': return by_pixel(l, x, at=at)
    if l.kind=='conv_values':
        def value(i, j, ys, xs):
            "A window's convolution around each key, two pixels before and one after"
            pad,n = F.pad(x, (l.window//2,l.window)*2), l.window
            return torch.stack([torch.stack([torch.einsum('bcyx,ocyx->bo', pad[...,a:a+n,b:b+n], l.value.weight) for b in xs], -1) for a in ys], -2)
    else:
        mats,p = l.value.weight[:,:,0,0].view(l.mixtures, l.n_out, l.n_in), mixture(l)
        def value(i, j, ys, xs):
            "The place (a, b) is that in the block, or in the window around (i, j)"
            def place(o, c): return o%l.window if l.block else o-c+before
            return torch.stack([torch.stack([sum(p[m,place(a, i),place(b, j)]*(x[:,:,a,b]@mats[m].T) for m in range(l.mixtures)) for b in xs], -1)
                for a in ys], -2)
    return by_pixel(l, x, value, at)

@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('stride', [1,4])
@pytest.mark.parametrize('size', [(5,7),(1,1)], ids=ids)
def test_a_stem_is_a_loop_over_pixels(kind, stride, size):
    l = AttentionStem(3, 8, kind, stride, heads=2, mixtures=3).attend
    assert l.heads==2 and bool(l.block)==(stride==4)
    same_as(stem_by_pixel, l, torch.randn(2, 3, *size))

def test_mixtures_sum_to_1_and_tell_places_apart():
    l = AttentionStem(3, 64).attend
    p = l.mixing()
    assert p.shape==(4,4,4) and torch.allclose(p.sum(0), torch.ones(4, 4), atol=1e-6) and p.std((1,2)).min()>1e-2

@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('stride', [1,4])
@pytest.mark.parametrize('size', [(16,12),(13,10),(3,2)], ids=ids)
def test_a_stem_normalises_and_pools_after_attending(kind, stride, size):
    l,x = AttentionStem(3, 16, kind, stride), torch.randn(3, 3, *size)
    y = l.attend(x)
    mean,var = (y.mean((0,2,3)),y.var((0,2,3), unbiased=False))
    def end(mean, var):
        o = ((y-mean[:,None,None])/(var[:,None,None]+l.norm.eps).sqrt()*l.norm.weight[:,None,None]+l.norm.bias[:,None,None]).clamp(min=0)
        return o if stride==1 else torch.stack([torch.stack([o[:,:,i:i+4,j:j+4].amax((2,3)) for j in range(0,size[1],4)], -1) for i in range(0,size[0],4)], -2)
    assert rel(l(x), end(mean, var))<1e-4
    with torch.no_grad(): l.norm.weight.normal_(); l.norm.bias.normal_(); l.norm.running_mean.normal_(); l.norm.running_var.uniform_(.5, 2)
    out = l.eval()(x)
    assert out.shape==(3, 16, *(-(-n//stride) for n in size))
    assert rel(out, end(l.norm.running_mean, l.norm.running_var))<1e-4

@pytest.mark.parametrize('kind', ['spatially_aware','standalone'])
def test_blocks_do_not_see_each_other(kind):
    l,x = AttentionStem(3, 16, kind).eval(), torch.randn(1, 3, 12, 14)
    y = x.clone()
    y[:,:,6,13] += 2
    with torch.no_grad(): pixels,cells = (l.attend(x)!=l.attend(y)).any(1)[0].nonzero(), (l(x)!=l(y)).any(1)[0].nonzero()
    assert pixels.tolist()==[[i,j] for i in range(4,8) for j in (12,13)] and cells.tolist()==[[1,3]]

@pytest.mark.parametrize('kind', KINDS)
def test_a_stem_of_stride_1_sees_its_window(kind):
    "Two pixels before and one after; values by a convolution reach as far again"
    l,x = AttentionStem(3, 16, kind, 1).eval(), torch.randn(1, 3, 15, 14)
    y = x.clone()
    y[:,:,7,6] += 2
    with torch.no_grad(): seen = (l.attend(x)!=l.attend(y)).any(1)[0].nonzero()
    lo,hi = (2,4) if kind=='conv_values' else (1,2)
    assert seen.tolist()==[[i,j] for i in range(7-lo, 7+hi+1) for j in range(6-lo, 6+hi+1)]

@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('stride', [1,4])
def test_map_and_values_of_a_stem_give_its_output(kind, stride):
    l,x = AttentionStem(3, 16, kind, stride).eval(), torch.randn(2, 3, 13, 10)
    A,v = l.attention_map(x),l.values(x)
    assert A.shape==(2,8,130,16) and v.shape==(2,8,2,130,16) and torch.allclose(A.sum(-1), torch.ones(2, 8, 130), atol=1e-5)
    assert rel(torch.einsum('bhnw,bhdnw->bhdn', A, v).reshape(2, 16, 13, 10), l.attend(x))<1e-5

@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('stride', [1,4])
def test_a_gradient_for_every_weight_of_a_stem_also_in_bfloat16(kind, stride):
    l,x = AttentionStem(3, 16, kind, stride), torch.randn(2, 3, 13, 10, requires_grad=True)
    for amp in (False,True):
        with torch.autocast('cpu', torch.bfloat16, enabled=amp): out = l(x)
        g = grads(out.float(), l, x)
        assert all(o.isfinite().all() and o.abs().sum()>0 for o in g)

def test_a_stem_that_slides_unfolds_nothing():
    l,x = AttentionStem(3, 64, stride=1), torch.randn(2, 3, 20, 20, requires_grad=True)
    assert largest(l, x)<=.5*16*64*2*400
