"""What every layer of the registry holds to: the traits that it declares are read, and put to the test"""
import copy,inspect,json
import pytest,torch
from simpleattn.local import AttentionStem
from simpleattn.models import timm_attention
from simpleattn.variants import get_variant,load_layer,variants

MADE,LAYERS,NAMES = {}, [], variants() # before another test registers its own
for name in NAMES:
    v = get_variant(name)
    if v.layer and (key := (v.layer, json.dumps(v.kwargs, sort_keys=True))) not in MADE: MADE[key] = v; LAYERS.append(pytest.param(v, id=name))
READABLE = [o for o in LAYERS if o.values[0].build() is not timm_attention]

@pytest.fixture(autouse=True)
def seed(): torch.manual_seed(0)

def rel(a, b): return ((a-b).abs().max()/b.abs().max().clamp(min=1e-30)).item()
def replaces(v): return 'replace' in v.site

def traits(v):
    "Of the variant's layer; made for one size or not may depend on its options"
    cls = v.build()
    return cls.traits if cls is timm_attention else getattr(make(v), 'traits', cls.traits)

def make(v, size=(5,7), ni=16, nf=32):
    "The layer as `insert_attention` calls it: 16 channels kept, 16 to 32 where a convolution is replaced, 3 to 32 where the stem is; gamma as it starts"
    cls = v.build()
    if v.site=='stem': return cls(3, nf, stride=4, **v.kwargs)
    fixed = cls.traits['fixed_size']
    if replaces(v): return cls(ni, n_out=nf, size=size, **v.kwargs) if fixed else cls(ni, nf, **v.kwargs)
    return cls(ni, size=size, **v.kwargs) if fixed else cls(ni, **v.kwargs)

def on(l):
    "Nothing that starts at 0 hides the rest"
    with torch.no_grad():
        for k,p in l.named_parameters():
            if k.endswith('gamma'): p.fill_(.7)
            elif p.dim()==1 and not p.any(): p.normal_(std=.3)
    return l

def image(v, size=(5,7), n=2): return torch.randn(n, 3 if v.site=='stem' else 16, *size)
def want_shape(v, x): return (len(x), 16 if not replaces(v) and v.site!='stem' else 32, *((-(-o//4) for o in x.shape[2:]) if v.site=='stem' else x.shape[2:]))

def grads(out, l, x):
    target = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad((out.float()*target).sum(), [x,*l.parameters()])

def test_the_registry_is_covered():
    assert {get_variant(o).build() for o in NAMES if get_variant(o).layer}=={o.values[0].build() for o in LAYERS} and len(LAYERS)==len(MADE)>=35
    for o in READABLE: assert {'residual','normalised','local','fixed_size'}<=set(traits(o.values[0])) and hasattr(o.values[0].build(), 'flops')

@pytest.mark.parametrize('v', LAYERS)
@pytest.mark.parametrize('size', [(5,7),(8,8),(1,1),(3,13)], ids=str)
def test_shapes_and_a_gradient_for_every_parameter(v, size):
    if size==(1,1) and v.build() is timm_attention: pytest.skip('a map of one position is not asked of timm')
    l,x = on(make(v, size)), image(v, size).requires_grad_()
    for mode in (False,True):
        out = l.train(mode)(x)
        assert out.shape==want_shape(v, x) and out.dtype==torch.float32 and out.isfinite().all()
    for (k,_),g in zip([('x',0),*l.named_parameters()], grads(out, l, x), strict=True):
        assert g.isfinite().all() and (size in ((1,1),(3,13)) or g.abs().sum()>0), k

@pytest.mark.parametrize('v', LAYERS)
@pytest.mark.parametrize('precision', [None,torch.bfloat16,torch.float16], ids=str)
def test_channels_last_and_added_to_in_place(v, precision):
    "As timm's blocks do, with more positions than channels; output and gradients are those of contiguous images"
    if precision and v.build() is timm_attention: pytest.skip('timm promises float32 here')
    size = (8,8)
    l,x = on(make(v, size)), image(v, size).div(2)
    def step(x):
        x = x.clone(memory_format=torch.preserve_format).requires_grad_()
        torch.manual_seed(1) # one of timm's has dropout
        with torch.autocast('cpu', precision or torch.bfloat16, enabled=precision is not None): out = l(x*1)
        out += 1
        return out, grads(out, l, x)
    state = copy.deepcopy(l.state_dict())
    want,dwant = step(x)
    l.load_state_dict(state)
    out,dout = step(x.contiguous(memory_format=torch.channels_last))
    near = 1e-4 if precision is None else .1
    assert out.dtype==want.dtype and (out-want).float().norm()<=near*want.float().norm()
    largest = max(o.norm() for o in dwant)
    for (k,_),a,b in zip([('x',0),*l.named_parameters()], dout, dwant, strict=True):
        assert precision is not None and a.isfinite().all() or (a-b).norm()<=1e-3*b.norm()+1e-4*largest, k

@pytest.mark.parametrize('v', READABLE)
def test_a_layer_exports_for_batches_of_any_size(v):
    l,x = on(make(v, (8,8))).eval(), image(v, (8,8)).div(2)
    program = torch.export.export(l, (x,), dynamic_shapes=({0:torch.export.Dim('batch')},)).module()
    more = torch.cat([x,-x,x])
    assert rel(program(more), l(more))<1e-4

@pytest.mark.parametrize('v', LAYERS)
@pytest.mark.parametrize('training', [False,True])
def test_a_layer_exports(v, training):
    "`torch.export` of a layer gives what the layer gives, with more positions than channels too"
    l,x = on(make(v, (8,8))).train(training), image(v, (8,8)).div(2)
    state = copy.deepcopy(l.state_dict())
    program = torch.export.export(l, (x,)).module()
    torch.manual_seed(1) # one of timm's has dropout
    got = program(x)
    l.load_state_dict(state)
    torch.manual_seed(1)
    assert rel(got, l(x))<1e-4

@pytest.mark.parametrize('v', LAYERS)
def test_bfloat16_autocast(v):
    "Close to float32 in output and in the direction of every gradient, and no weight's gradient in bfloat16"
    size = (8,8)
    l,x = on(make(v, size)).eval(), image(v, size).div(2).requires_grad_()
    ref = l(x)
    want = grads(ref, l, x)
    with torch.autocast('cpu', torch.bfloat16): out = l(x)
    assert out.isfinite().all() and (out.float()-ref).norm()<4e-2*ref.norm()
    for (k,p),a,b in zip([('x',x),*l.named_parameters()], grads(out, l, x), want, strict=True):
        near = (a-b).norm()<(.3 if v.site=='stem' else .15)*b.norm() # a stem's maximum may pass to another pixel
        assert a.dtype==torch.float32 and (near or b.norm()<1e-4*max(o.norm() for o in want)), (k, (a-b).norm()/b.norm())

@pytest.mark.parametrize('v', READABLE)
@pytest.mark.parametrize('size', [(5,7),(8,4)], ids=str)
def test_map_and_values_give_the_output(v, size):
    l,x,t = on(make(v, size)).eval(), image(v, size), traits(v)
    if not t['normalised']: x = x/4
    A,h,out = l.attention_map(x),l.values(x),l(x)
    N = size[0]*size[1]
    assert A.shape[0]==h.shape[0]==2 and A.shape[-2]==N and not A.requires_grad and not h.requires_grad
    assert torch.allclose(A.sum(-1), torch.ones(()), atol=1e-5)==t['normalised']
    if t['local']: o = torch.einsum('bhnw,bhdnw->bhdn', A, h).flatten(1,2)
    else: o = (h@A.mT).reshape(2, -1, N)
    if t['residual']: o = x.flatten(2) + l.gamma*o
    o = o.unflatten(2, size)
    assert rel(l.finish(o) if isinstance(l, AttentionStem) else o, out)<1e-5

@pytest.mark.parametrize('v', [o for o in READABLE if traits(o.values[0])['local']])
def test_a_local_layer_sees_its_window_and_nothing_else(v):
    "A change reaches every position whose window holds it and no other; a global layer carries it everywhere"
    l,x = make(v).eval(), image(v, (19,18), 1)
    l = l.attend if isinstance(l, AttentionStem) else l
    y,at = x.clone(), (9,10)
    y[:,:,at[0],at[1]] += 1
    with torch.no_grad(): changed = (l(x)!=l(y)).any(1)[0]
    def sees(i, j, more=(0,0)):
        if l.block: lo,hi = i//l.block*l.block-more[0], i//l.block*l.block+l.block-1+more[1]
        else: lo,hi = i-l.lo-more[0], i+l.hi+more[1]
        return lo<=j<=hi
    more = (l.window//2,l.window-1-l.window//2) if getattr(l, 'kind', None)=='conv_values' else (0,0) # its values are a convolution
    want = torch.tensor([[sees(i, at[0], more) and sees(j, at[1], more) for j in range(18)] for i in range(19)])
    assert not (changed & ~want).any()
    assert torch.equal(changed, want)

@pytest.mark.parametrize('v', [o for o in READABLE if not traits(o.values[0])['local']])
def test_a_layer_that_is_not_local_sees_everything(v):
    l,x = on(make(v, (9,11))).eval(), image(v, (9,11), 1)/4
    y = x.clone()
    y[:,:,0,0] += .5
    with torch.no_grad(): assert (l(x)!=l(y)).any(1).all()

@pytest.mark.parametrize('v', READABLE)
def test_a_residual_layer_starts_as_the_identity(v):
    l,x = make(v), image(v)
    out = l.eval()(x)
    assert (out.shape==x.shape and torch.equal(out, x))==traits(v)['residual']
    if traits(v)['residual']: assert not torch.equal(on(l)(x), x)

@pytest.mark.parametrize('v', READABLE)
def test_a_layer_made_for_one_size_refuses_another_and_others_take_any(v):
    l,x = make(v, (5,7)), image(v, (6,5))
    if not traits(v)['fixed_size']: assert l(x).shape==want_shape(v, x)
    else:
        with pytest.raises(ValueError, match='5 x 7.*6 x 5'): l(x)

@pytest.mark.parametrize('v', READABLE)
def test_in_evaluation_a_layer_is_a_function_of_each_image(v):
    "No randomness, no state moved, no image seen by another"
    l,x = on(make(v)).eval(), image(v, n=3)
    before = copy.deepcopy(l.state_dict())
    out = l(x)
    assert torch.equal(l(x), out) and rel(torch.cat([l(o[None]) for o in x]), out)<1e-5
    l.attention_map(x); l.values(x)
    assert all(torch.equal(o, before[k]) for k,o in l.state_dict().items())

@pytest.mark.parametrize('v', READABLE)
def test_copied_weights_are_the_whole_layer(v):
    a,b,x = on(make(v)).eval(), make(v).eval(), image(v)
    b.load_state_dict(a.state_dict(), strict=True)
    assert torch.equal(a(x), b(x)) and torch.equal(copy.deepcopy(a)(x), a(x))

@pytest.mark.parametrize('v', READABLE)
def test_weights_are_drawn_from_the_generator_alone(v):
    a = []
    for s in (1,1,2): torch.manual_seed(s); a.append([p.detach().clone() for p in make(v).parameters()])
    assert all(torch.equal(p, q) for p,q in zip(a[0], a[1]))
    assert any(not torch.equal(p, q) for p,q in zip(a[0], a[2])) and all(not torch.equal(p, q) for p,q in zip(a[0], a[2]) if p.dim()>1)

@pytest.mark.parametrize('v', READABLE)
def test_flops_grow_with_positions_by_whole_numbers(v):
    "Those of local layers in proportion"
    f = make(v).flops
    assert all(isinstance(f(n), int) and f(n)>0 for n in (1,35,64,1024))
    assert f(4096)==4*f(1024) if traits(v)['local'] else f(4096)>2*f(1024)

@pytest.mark.parametrize('v', LAYERS)
def test_a_layer_is_found_by_the_path_that_its_records_hold(v):
    path = v.to_dict()['layer']
    assert load_layer(path) is v.build() and path.startswith('simpleattn.')
    assert set(v.kwargs)<=set(inspect.signature(v.build()).parameters)
