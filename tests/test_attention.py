import copy, itertools, math, pickle
import pytest, torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from simpleattn.attention import (LadderAttention, SelfAttention, SimpleSelfAttention, SpectralConv1d, cheapest_order, fused_attention, fused_wins,
                                  linear_attention, order_costs, plain_attention)

OPTIONS = [dict(one_matrix=o, softmax=s, final_conv=f, ks=ks, symmetric=sym, spectral=sp)
           for o,s,f,ks,sym,sp in itertools.product((False,True), (False,True), (False,True), (1,3), (False,True), (False,True))
           if (o or (ks==1 and not sym)) and not (sym and ks!=1)]
ids = lambda kw: '-'.join(f'{k}{int(v)}' for k,v in kw.items()) if isinstance(kw, dict) else None

@pytest.fixture(autouse=True)
def seed(): torch.manual_seed(0)

@pytest.fixture(scope='module')
def fl():
    import fastai.layers
    return fastai.layers

def rel(a, b): return ((a-b).abs().max()/b.abs().max()).item()

def on(layer, value=1.):
    nn.init.constant_(layer.gamma, value)
    return layer

def out_grads(layer, x, target=None):
    x = x.detach().clone().requires_grad_()
    out = layer(x)
    target = torch.linspace(-1, 1, out.numel(), device=x.device).reshape(out.shape) if target is None else target
    return [out, *torch.autograd.grad((out.float()*target).sum(), [x, *layer.parameters()])]

def warmed(layer, ni, steps=20):
    on(layer).train()
    for _ in range(steps): layer(torch.randn(1, ni, 4))
    return layer

# ---- agreement with fastai

CASES = [('SelfAttention', {}), ('SimpleSelfAttention', {}), ('SimpleSelfAttention', dict(ks=3))]

@pytest.mark.parametrize('name,kw', CASES)
@pytest.mark.parametrize('size', [(64,4,4), (64,16,16), (64,1024)], ids=str)
def test_fastai_agrees(fl, name, kw, size):
    theirs = warmed(getattr(fl, name)(64, **kw), 64)
    ours = globals()[name](64, **kw)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, *size)
    for mode in (False, True):
        a,b = out_grads(ours.train(mode), x),out_grads(theirs.train(mode), x)
        assert rel(a[0], b[0]) <= 1e-5
        assert [n for n,_ in ours.named_parameters()] == [n.replace('.0', '').replace('_orig', '') for n,_ in theirs.named_parameters()]
        for p,q in zip(a[1:], b[1:]): assert rel(p, q) <= 1e-4

@pytest.mark.parametrize('name,kw', CASES)
def test_fastai_agrees_in_training(fl, name, kw):
    "The same power iterations and the same updates over a few optimiser steps"
    theirs = warmed(getattr(fl, name)(16, **kw), 16)
    ours = globals()[name](16, **kw)
    ours.load_state_dict(theirs.state_dict())
    x, start = torch.randn(2, 16, 5, 5), ours.gamma.item()
    for l in (ours, theirs):
        opt = torch.optim.SGD(l.parameters(), 1e-3)
        for _ in range(5):
            opt.zero_grad()
            l.train()(x).square().mean().backward()
            opt.step()
    assert ours.gamma.item() != start
    assert rel(ours.eval()(x), theirs.eval()(x)) <= 1e-5

def test_fastai_in_a_network(fl):
    def network(a, b): return nn.Sequential(nn.Conv2d(3, 8, 1), nn.Sequential(a(8), b(8)))
    theirs, ours = network(fl.SelfAttention, fl.SimpleSelfAttention), network(SelfAttention, SimpleSelfAttention)
    for l in theirs[1]: warmed(l, 8)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, 3, 4, 4)
    assert rel(ours.eval()(x), theirs.eval()(x)) <= 1e-5

def test_initial_distributions(fl):
    "Deviation and kurtosis tell uniform from normal; 65,536 numbers pin both"
    def moments(w): return torch.stack([w.std()*math.sqrt(256), (w/w.std()).pow(4).mean()])
    for ours,theirs in ((SelfAttention(256).value.weight, fl.SelfAttention(256).value[0].weight_orig),
                        (SimpleSelfAttention(256).conv.weight, fl.SimpleSelfAttention(256).conv.weight_orig),
                        (SimpleSelfAttention(256, ks=3).conv.weight, fl.SimpleSelfAttention(256, ks=3).conv.weight_orig)):
        assert ours.shape == theirs.shape
        assert torch.allclose(moments(ours.detach()), moments(theirs.detach()), rtol=0.04)

def test_fastai_sym_does_nothing(fl):
    plain, sym = warmed(fl.SimpleSelfAttention(16), 16), fl.SimpleSelfAttention(16, sym=True)
    sym.load_state_dict(plain.state_dict())
    x = torch.randn(2, 16, 6, 6)
    assert all(torch.equal(a, b) for a,b in zip(out_grads(plain, x), out_grads(sym, x)))

# ---- the product of three and its orders

class Shapes(TorchDispatchMode):
    "Sizes of every tensor that an operation makes"
    def __init__(self): super().__init__(); self.sizes = set()
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in (out if isinstance(out, (tuple,list)) else [out]):
            if isinstance(t, torch.Tensor): self.sizes.add(tuple(t.shape))
        return out

def made_n_by_n(fn, n):
    with Shapes() as s: fn()
    assert s.sizes
    return any(math.prod(t) % (n*n) == 0 for t in s.sizes)

@pytest.mark.parametrize('C,N,ks', [(16,64,1), (16,64,3), (64,16,1), (64,16,3), (32,32,1)])
@pytest.mark.parametrize('nr', [None, 4])
def test_orders_agree(C, N, ks, nr):
    r = nr or C
    x, w, f, h = (torch.randn(*s, dtype=torch.float64) for s in ((2,C,N), (r,C,ks), (2,r,N), (2,C,N)))
    wx = sum(torch.einsum('rc,bcn->brn', w[:,:,k], F.pad(x, (ks//2,ks//2))[...,k:k+N]) for k in range(ks))
    ref = torch.einsum('bcm,brm,brn->bcn', h, f, wx)
    assert set(order_costs(C, N, ks, nr)) == ({'folded','gram','tokens'} if ks==1 else {'gram','tokens'})
    for order in [None, *order_costs(C, N, ks, nr)]:
        assert rel(linear_attention(f, w, x, h, order), ref) < 1e-12
        assert rel(linear_attention(*(t.float() for t in (f, w, x, h)), order).double(), ref) < 1e-5

def test_order_costs():
    C, N = 64, 1024
    assert order_costs(C, N) == dict(folded=2*C*C*N + C**3, gram=3*C*C*N, tokens=C*C*N + 2*C*N*N)
    assert order_costs(C, N, 3) == dict(gram=5*C*C*N, tokens=3*C*C*N + 2*C*N*N)
    assert [cheapest_order(*a) for a in ((64,1024), (64,1024,3), (512,16), (512,16,3))] == ['folded', 'gram', 'tokens', 'tokens']

def test_never_tokens_when_fewer_channels():
    sizes = (1,2,3,7,8,16,50,64,256,1000)
    for C,N,ks,red in itertools.product(sizes, sizes, (1,3), (1,8)):
        if C < N: assert cheapest_order(C, N, ks, max(1, C//red)) != 'tokens'

@pytest.mark.parametrize('kw', [dict(), dict(ks=3), dict(symmetric=True)], ids=ids)
def test_no_n_by_n(kw):
    C, n = 24, 7
    layer, x = on(SimpleSelfAttention(C, **kw)), torch.randn(3, C, n, n, requires_grad=True)
    assert not made_n_by_n(lambda: layer(x).sum().backward(), n*n)
    assert made_n_by_n(lambda: layer.attention_map(x), n*n)

def test_n_by_n_is_taken_when_cheaper():
    layer, x = on(SimpleSelfAttention(50)), torch.randn(3, 50, 7)
    with Shapes() as s: layer(x)
    assert (3,7,7) in s.sizes and (3,50,50) not in s.sizes

def test_flops():
    C, N = 64, 256
    assert SelfAttention(C).flops(N) == 2*(2*C*8*N + C*C*N + N*N*(8+C))
    assert SimpleSelfAttention(C).flops(N) == 2*(2*C*C*N + C**3)
    assert SimpleSelfAttention(C, ks=3).flops(N) == 2*5*C*C*N
    assert SimpleSelfAttention(C).flops(16) == 2*(C*C*16 + 2*C*16*16)
    assert LadderAttention(C, one_matrix=True).flops(N) == 2*(2*C*C*N + 2*C*N*N)

@pytest.mark.parametrize('kw', OPTIONS, ids=ids)
@pytest.mark.parametrize('n', [9, 100])
def test_flops_are_what_runs(kw, n):
    from torch.utils.flop_counter import FlopCounterMode
    layer, x = LadderAttention(32, **{**kw, 'spectral':False}), torch.randn(1, 32, n)
    layer.fused = False
    with FlopCounterMode(display=False) as fc: layer(x)
    assert fc.get_total_flops() == layer.flops(n)

# ---- the ladder

@pytest.mark.parametrize('spectral', [True, False])
def test_ladder_ends(spectral):
    ends = [(SelfAttention(32, spectral=spectral), LadderAttention(32, spectral=spectral))]
    simple = dict(one_matrix=True, softmax=False, final_conv=False, spectral=spectral)
    for kw in (dict(), dict(ks=3), dict(symmetric=True)):
        ends.append((SimpleSelfAttention(32, spectral=spectral, **kw), LadderAttention(32, **simple, **kw)))
    x = torch.randn(2, 32, 6, 6)
    for a,b in ends:
        for l in (a, b): torch.manual_seed(1); l.reset_parameters(); on(l)
        assert all(torch.equal(p, q) for p,q in zip(out_grads(a, x), out_grads(b, x), strict=True))
        assert a.traits == b.traits

def test_steps_against_written_out_formulas():
    "Every combination without spectral norm, against the formula of the source"
    x = torch.randn(2, 16, 5, 5, dtype=torch.float64)
    xf = x.flatten(2)
    for o,s,f in itertools.product((False,True), repeat=3):
        l = on(LadderAttention(16, reduction=4, one_matrix=o, softmax=s, final_conv=f, spectral=False), 0.5).double()
        W = l.conv.weight[...,0] if o else l.query.weight[...,0].T @ l.key.weight[...,0]
        S = xf.mT @ W @ xf
        if s: S = S.softmax(1)
        h = l.value.weight[...,0] @ xf if f else xf
        assert rel(l(x), x + 0.5*(h @ S).view_as(x)) < 1e-10

def test_parameter_counts():
    count = lambda l: sum(p.numel() for p in l.parameters())
    C = 64
    assert count(SelfAttention(C)) == C*C + C*C//4 + 1
    assert count(LadderAttention(C, reduction=2)) == 2*C*C + 1
    assert count(LadderAttention(C, one_matrix=True)) == 2*C*C + 1
    assert count(SimpleSelfAttention(C)) == C*C + 1
    assert count(SimpleSelfAttention(C, ks=3)) == 3*C*C + 1
    assert count(SimpleSelfAttention(C, symmetric=True)) == C*(C+1)//2 + 1

@pytest.mark.parametrize('kw', OPTIONS, ids=ids)
def test_every_option(kw):
    "Identity at first; the map reproduces the output in both modes; traits are true; a gradient reaches everything"
    layer, x = LadderAttention(16, **kw), torch.randn(2, 16, 4, 5)
    assert torch.equal(layer(x), x)
    assert layer.gamma.shape == (1,) and all(layer.traits[k]==v for k,v in dict(residual=True, local=False, fixed_size=False).items())
    on(layer, 0.7).train()
    state = copy.deepcopy(layer.state_dict())
    A, h = layer.attention_map(x), layer.values(x)
    assert layer.training and all(torch.equal(v, state[k]) for k,v in layer.state_dict().items())
    assert A.shape == (2,20,20) and h.shape == (2,16,20)
    assert torch.allclose(A.sum(-1), torch.ones(2, 20), atol=1e-5) == layer.traits['normalised'] == kw['softmax']
    out = layer.eval()(x)
    assert rel(out.flatten(2), x.flatten(2) + layer.gamma*(h @ A.mT)) < 1e-5
    assert all(g.abs().sum() > 0 for g in out_grads(layer.train(), x)[1:])
    assert torch.equal(layer.eval()(x.flatten(2)).view_as(x), layer(x))
    if kw['spectral']: assert not all(torch.equal(v, state[k]) for k,v in layer.state_dict().items())

def test_rows_are_output_positions():
    "A change of position j of the input changes column j of the values' weights, and only row j through g"
    l, x = SelfAttention(16), torch.randn(1, 16, 6)
    f,g = F.conv1d(x, l.query.kernel(False)),F.conv1d(x, l.key.kernel(False))
    want = torch.stack([torch.softmax(torch.stack([f[0,:,i] @ g[0,:,j] for i in range(6)]), 0) for j in range(6)])
    assert torch.allclose(l.attention_map(x)[0], want, atol=1e-6)

# ---- fused attention

@pytest.mark.parametrize('C,r,N', [(32,4,64), (16,16,40), (48,6,33)])
@pytest.mark.parametrize('dtype,tol', [(torch.float64,1e-10), (torch.float32,1e-5), (torch.bfloat16,4e-2)])
def test_fused_is_plain(C, r, N, dtype, tol):
    f, g, h = (torch.randn(2, c, N, dtype=dtype, requires_grad=True) for c in (r,r,C))
    t = torch.randn(2, C, N)
    res = []
    for fn in (plain_attention, fused_attention):
        out = fn(f, g, h)
        res.append([out, *torch.autograd.grad((out*t).sum(), (f, g, h))])
    for a,b in zip(*res): assert a.dtype == dtype and rel(b.float(), a.float()) <= tol

@pytest.mark.parametrize('kw', [dict(), dict(final_conv=False), dict(one_matrix=True, final_conv=False)], ids=ids)
@pytest.mark.parametrize('amp', [False, True])
def test_layer_fused_is_plain(kw, amp):
    layer, x = warmed(LadderAttention(32, **kw), 32).eval(), torch.randn(2, 32, 8, 8)/2
    res = []
    for layer.fused in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=amp): res.append(out_grads(layer, x))
    for a,b in zip(*res): assert a.dtype == b.dtype == torch.float32 and rel(b, a) <= (4e-2 if amp else 1e-5)

def test_fused_makes_no_map():
    layer, x = on(SelfAttention(16)), torch.randn(1, 16, 23, 23, requires_grad=True)
    assert fused_wins(x.flatten(2), torch.float32)
    assert not made_n_by_n(lambda: layer(x).sum().backward(), 529)
    layer.fused = False
    assert made_n_by_n(lambda: layer(x).sum().backward(), 529)

def test_fused_only_for_long_inputs():
    small, large = (torch.empty(1, 64, n) for n in (256,4096))
    for dt in (torch.float32,torch.bfloat16): assert not fused_wins(small, dt) and fused_wins(large, dt)

# ---- the symmetric form

def test_symmetric():
    C = 20
    l, x = on(SimpleSelfAttention(C, symmetric=True)), torch.randn(2, C, 6, 6)
    assert l.conv.weight.shape == (C*(C+1)//2,)
    opt = torch.optim.Adam(l.parameters(), 1e-2)
    before = l.conv.full().detach().clone()
    for _ in range(4):
        full, k = l.conv.full()[...,0], l.conv.kernel(True)[...,0]
        assert torch.equal(full, full.T) and torch.equal(k, k.T)
        assert torch.equal(l.conv.weight, full[tuple(torch.triu_indices(C, C))])
        opt.zero_grad()
        l(x).square().sum().backward()
        assert (l.conv.weight.grad != 0).all()
        opt.step()
    assert (l.conv.full() != before).all()
    A = l.attention_map(x)
    B = SimpleSelfAttention(C).attention_map(x)
    assert rel(A, A.mT) < 1e-4 and rel(B, B.mT) > 0.1

def test_symmetric_gradient():
    "A number off the diagonal gets the gradients of both entries that it stands for"
    c = SpectralConv1d(5, 5, spectral=False, symmetric=True)
    G = torch.randn(5, 5)
    (c.full()[...,0]*G).sum().backward()
    i,j = torch.triu_indices(5, 5)
    assert torch.allclose(c.weight.grad, torch.where(i==j, G[i,j], G[i,j]+G[j,i]))

def test_symmetric_variance():
    C = 256
    w = SpectralConv1d(C, C, symmetric=True).full()[...,0].detach()
    assert abs(w.std()*math.sqrt(C/2) - 1) < 0.02 and abs(w.diag().std()*math.sqrt(C/2) - 1) < 0.15

# ---- spectral norm

@pytest.mark.parametrize('kw', [dict(), dict(ks=3), dict(symmetric=True)], ids=ids)
def test_spectral_norm_converges(kw):
    c = SpectralConv1d(24, 24, **kw)
    assert 0.999 < torch.linalg.matrix_norm(c.kernel(False).flatten(1), 2) < 1.3
    for _ in range(300): c.kernel(True)
    assert abs(torch.linalg.matrix_norm(c.kernel(False).flatten(1), 2) - 1) < 1e-3

def test_spectral_norm_agrees_with_torch():
    ref = nn.utils.parametrizations.spectral_norm(nn.Conv1d(12, 6, 1, bias=False)).eval()
    c, p = SpectralConv1d(12, 6), ref.parametrizations.weight
    with torch.no_grad():
        for a,b in ((c.weight, p.original), (c.u, p[0]._u), (c.v, p[0]._v)): a.copy_(b)
    t = torch.randn(6, 12, 1)
    ga, = torch.autograd.grad((c.kernel(False)*t).sum(), c.weight)
    gb, = torch.autograd.grad((ref.weight*t).sum(), p.original)
    assert rel(c.kernel(False), ref.weight) < 1e-6 and rel(ga, gb) < 1e-5

def test_two_forwards_before_a_backward():
    l, x = on(SelfAttention(16)).train(), torch.randn(2, 16, 3, 3)
    (l(x).sum() - l(2*x).sum()).backward()
    assert l.query.weight.grad is not None

def test_sigma_keeps_its_precision_under_autocast():
    c = SpectralConv1d(64, 64)
    with torch.autocast('cpu', torch.bfloat16): k = c.kernel(False)
    assert torch.equal(k, c.kernel(False)) and k.dtype == torch.float32

# ---- every kind of input and use

@pytest.mark.parametrize('cls', [SelfAttention, SimpleSelfAttention])
@pytest.mark.parametrize('side', [5, 20])
def test_channels_last(cls, side):
    l, x = warmed(cls(32), 32).eval(), torch.randn(2, 32, side, side)
    a = out_grads(l, x)
    xl = x.to(memory_format=torch.channels_last)
    b = l(xl)
    assert not xl.is_contiguous() and b.is_contiguous(memory_format=torch.channels_last) and a[0].is_contiguous()
    assert rel(b, a[0]) < 1e-5
    for p,q in zip(a, out_grads(l, xl)): assert rel(q, p) < 1e-4

@pytest.mark.parametrize('cls', [SelfAttention, SimpleSelfAttention])
@pytest.mark.parametrize('size', [(30,), (5,6), (2,3,5)])
def test_any_trailing_dimensions(cls, size):
    l, x = on(cls(16)).eval(), torch.randn(2, 16, 30)
    out = l(x.view(2, 16, *size))
    assert out.shape == (2, 16, *size) and torch.equal(out.flatten(2), l(x))

@pytest.mark.parametrize('cls', [SelfAttention, SimpleSelfAttention])
@pytest.mark.parametrize('side', [4, 16])
def test_bfloat16(cls, side):
    l, x = warmed(cls(32), 32).eval(), torch.randn(2, 32, side, side)/2
    ref = out_grads(l, x)
    with torch.autocast('cpu', torch.bfloat16): amp = out_grads(l, x)
    assert amp[0].dtype == torch.float32
    for a,b in zip(amp, ref): assert rel(a, b) < 4e-2
    whole = copy.deepcopy(l).bfloat16()(x.bfloat16())
    assert whole.dtype == torch.bfloat16 and rel(whole.float(), ref[0]) < 6e-2

@pytest.mark.parametrize('kw', OPTIONS, ids=ids)
def test_reset_parameters(kw):
    a, b = (LadderAttention(16, **kw) for _ in range(2))
    with torch.no_grad():
        for p in b.parameters(): p.add_(1)
    states = []
    for l in (a, b):
        torch.manual_seed(7)
        l.reset_parameters()
        states.append(copy.deepcopy(l.state_dict()))
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0]) and l.gamma.item() == 0
    torch.manual_seed(7)
    fresh = LadderAttention(16, **kw).state_dict()
    assert all(torch.equal(fresh[k], states[0][k]) for k in fresh)
    a.reset_parameters()
    assert not any(torch.equal(v, states[0][k]) for k,v in a.state_dict().items() if k != 'gamma')

@pytest.mark.parametrize('kw', OPTIONS, ids=ids)
def test_save_load_copy_pickle(kw, tmp_path):
    l, x = on(LadderAttention(16, **kw)), torch.randn(2, 16, 4, 4)
    l(x)
    l.eval()
    torch.save(l.state_dict(), tmp_path/'w.pt')
    again = LadderAttention(16, **kw).eval()
    assert not torch.equal(again(x), l(x))
    again.load_state_dict(torch.load(tmp_path/'w.pt', weights_only=True), strict=True)
    for o in (again, copy.deepcopy(l), pickle.loads(pickle.dumps(l))): assert torch.equal(o(x), l(x))
    twin = copy.deepcopy(l)
    with torch.no_grad(): twin.gamma.zero_()
    assert l.gamma.item() == 1

def test_full_state_does_not_load_into_symmetric():
    with pytest.raises(RuntimeError, match='size mismatch'): SimpleSelfAttention(8, symmetric=True).load_state_dict(SimpleSelfAttention(8).state_dict())

def test_missing_keys_are_still_found(fl):
    state = fl.SelfAttention(16).state_dict()
    del state['key.0.weight_orig']
    with pytest.raises(RuntimeError, match='key.weight'): SelfAttention(16).load_state_dict(state)

# ---- second derivatives, and the transforms of torch.func

FOLDS = [dict(), dict(symmetric=True)]

def twins(kw=(), dtype=torch.float64):
    "A layer that folds and the same one that does not"
    folds = on(SimpleSelfAttention(4, **dict(kw)), 0.7).to(dtype).eval()
    plain = copy.deepcopy(folds)
    plain.folds = False
    return folds, plain

def channels_last(x): return x.to(memory_format=torch.channels_last)

@pytest.mark.parametrize('kw', FOLDS, ids=ids)
@pytest.mark.parametrize('layout', [torch.clone, channels_last])
def test_second_derivatives_are_those_of_the_plain_form(kw, layout):
    "A gradient penalty, as for a critic: every parameter and the input get a gradient through the gradients"
    x = layout(torch.randn(2, 4, 3, 3, dtype=torch.float64))
    def penalty(layer):
        t = x.clone().requires_grad_()
        first = torch.autograd.grad(layer(t).pow(3).sum(), [t, *layer.parameters()], create_graph=True)
        return [*first, *torch.autograd.grad(sum(g.square().sum() for g in first), [t, *layer.parameters()])]
    for a,b in zip(*map(penalty, twins(kw)), strict=True): assert b.any() and rel(a, b) < 1e-10

def test_a_second_derivative_where_no_gradient_comes_in_that_asks_for_one():
    "With gamma 0 the layer is the identity, and the Hessian of the sum of squares is 2"
    layer = SimpleSelfAttention(8).eval()
    for side in (2,4):
        x, v = torch.randn(1, 8, side, side), torch.randn(1, 8, side, side)
        assert torch.equal(torch.autograd.functional.hvp(lambda x: layer(x).pow(2).sum(), x, v)[1], 2*v)

def test_second_derivatives_are_right_to_the_last_digit():
    layer, x = on(SimpleSelfAttention(3)).double().eval(), torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    def out(x, w, gamma): return torch.func.functional_call(layer, {'conv.weight':w, 'gamma':gamma}, x)
    assert torch.autograd.gradgradcheck(out, (x, layer.conv.weight, layer.gamma))

def test_second_derivatives_under_autocast():
    def second(layer):
        x = torch.linspace(-1, 1, 72).reshape(2, 4, 3, 3).requires_grad_()
        with torch.autocast('cpu', torch.bfloat16): out = layer(x)
        first, = torch.autograd.grad(out.pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), [x, *layer.parameters()])
    for a,b in zip(*map(second, twins(dtype=torch.float32)), strict=True): assert a.dtype==b.dtype==torch.float32 and rel(a, b) < 5e-2

@pytest.mark.parametrize('cls', [SelfAttention,SimpleSelfAttention])
def test_the_transforms_of_torch_func_go_through_a_layer(cls):
    layer, x, v = on(cls(4), 0.7).double().eval(), *torch.randn(2, 2, 4, 3, 3, dtype=torch.float64)
    layer.fused = False # torch's own fused kernel has no derivative forwards
    def loss(x): return layer(x).pow(2).sum()
    t = x.clone().requires_grad_()
    want, = torch.autograd.grad(loss(t), t)
    assert rel(torch.func.grad(loss)(x), want) < 1e-12
    assert rel(torch.func.jvp(loss, (x,), (v,))[1], (want*v).sum()) < 1e-12
    assert rel(torch.func.vmap(lambda o: layer(o[None])[0])(x), layer(x)) < 1e-12
    assert rel(torch.func.hessian(loss)(x).flatten(4).flatten(0,3) @ v.flatten(), torch.autograd.functional.hvp(loss, x, v)[1].flatten()) < 1e-10

def test_gamma_has_the_precision_of_what_goes_in():
    "In double precision as exact as the plain form, and in half precision summed in single"
    folds, plain = twins()
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    a, b = (torch.autograd.grad(layer(x).square().sum(), layer.gamma)[0] for layer in (folds, plain))
    assert rel(a, b) < 1e-13

@pytest.mark.parametrize('cls', [SelfAttention, SimpleSelfAttention])
def test_compiles_in_one_graph(cls):
    l, x = on(cls(16)).train(), torch.randn(2, 16, 5, 5)
    twin = copy.deepcopy(l)
    fast = torch.compile(l, backend='aot_eager', fullgraph=True)
    for _ in range(2): assert rel(fast(x), twin(x)) < 1e-5
    assert all(torch.allclose(v, twin.state_dict()[k], atol=1e-5) for k,v in l.state_dict().items())

def test_few_channels():
    l, x = on(SelfAttention(3)), torch.randn(2, 3, 4, 4)
    assert l.query.weight.shape == (1,3,1) and torch.isfinite(l(x)).all()

@pytest.mark.parametrize('fn,fix', [
    (lambda: SimpleSelfAttention(8, ks=2), 'odd'), (lambda: SimpleSelfAttention(8, ks=0), 'odd'), (lambda: SimpleSelfAttention(8, ks=-1), 'odd'),
    (lambda: SimpleSelfAttention(8, ks=3, symmetric=True), 'needs ks=1'), (lambda: LadderAttention(8, symmetric=True), 'give one_matrix=True'),
    (lambda: LadderAttention(8, ks=3), 'give one_matrix=True'), (lambda: LadderAttention(8, reduction=0), 'at least 1'),
    (lambda: SelfAttention(0), 'at least 1')])
def test_errors(fn, fix):
    with pytest.raises(ValueError, match=fix): fn()
