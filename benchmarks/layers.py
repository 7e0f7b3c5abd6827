"""Each layer against what one would use without this library: time forward and backward, and memory at its peak. Alone, and within a training step.

python benchmarks/layers.py [simple|self|local|mhsa|share ...]"""
import sys,warnings
import torch,torch.nn.functional as F
from torch import nn
from common import save,side_by_side
from plain_fastai import plain_variant
from fastai.layers import SelfAttention as FastaiSelf, SimpleSelfAttention as FastaiSimple
from simpleattn.attention import SelfAttention,SimpleSelfAttention
from simpleattn.bottleneck import MHSA2d
from simpleattn.local import LocalSelfAttention
from simpleattn.models import create_model,peak_memory

DEV = torch.device('cuda' if torch.cuda.is_available() else 'cpu')

def sized(B):
    "The batch of a row: on a GPU that of training"
    return B if DEV.type=='cpu' else 64

class PublishedOrder(FastaiSimple):
    "X (X^T (W X)), from right to left as the formula is read"
    def forward(self, x):
        xf = x.flatten(2)
        return (self.gamma*(xf @ (xf.mT @ self.conv(xf))) + xf).view(x.shape)

def unfolded(layer, x):
    "Local attention with a copy of the window for each query, border cut"
    q,k,v = layer.project(x)
    places,heads = layer.places(x), layer.heads
    k,v = (F.unfold(t, layer.window, padding=layer.lo).unflatten(1, (heads,-1,layer.window**2)).mT for t in (k,v))
    q = q.flatten(2).unflatten(1, (heads,-1))
    offsets = torch.cat([layer.row[:,:,None].expand(-1,-1,layer.window,-1), layer.col[:,None].expand(-1,layer.window,-1,-1)], -1).flatten(1,2)
    s = torch.einsum('bhdn,bhdnw->bhnw', q, k) + torch.einsum('bhdn,hwd->bhnw', q, offsets)
    seen = (places[0][1][:,None,:,None] & places[1][1][None,:,None]).flatten(2).flatten(0,1)
    return torch.einsum('bhnw,bhdnw->bhdn', s.masked_fill(~seen, float('-inf')).softmax(-1), v).reshape(len(x), -1, *x.shape[2:])

def step(f, layer, x):
    "Forward and backward; gradients of the weights and of the input"
    layer.zero_grad(); x.grad = None
    y = f(x)
    y.backward(y.detach())

def row(what, against, bound, forms, memory_bound=None, rounds=9, **facts):
    """Time and memory of two forms, ours first. `bound`: how many times faster ours is to be; `memory_bound`: the part of the other's memory that it may take"""
    ms,mem = side_by_side(forms, rounds, .1), {k:peak_memory(f, DEV)/2**20 for k,f in forms.items()}
    ours,theirs = forms
    r = dict(what=what, against=against, **facts, ms=ms, peak_mib={k:round(v,1) for k,v in mem.items()},
        times_faster=round(ms[theirs]['ms']/ms[ours]['ms'], 2), memory_ratio=round(mem[ours]/mem[theirs], 3), at_least=bound, memory_at_most=memory_bound)
    r['ok'] = (bound is None or r['times_faster']>=bound) and (memory_bound is None or r['memory_ratio']<=memory_bound)
    def said(k): return f"{ms[k]['ms']:.2f} ms, {mem[k]:.1f} MiB"
    print(f"{what:22} {str(facts):58} {said(ours)}; {against}: {said(theirs)}; {r['times_faster']:.2f}x faster, {r['memory_ratio']:.3f} of the memory "
        f"(to reach: {bound}x, {memory_bound})", flush=True)
    return r

def pair(ours, theirs, x):
    "Both layers with gamma at 1 and power iterations that have converged; both keep the dtype of the input"
    for l in (ours, theirs):
        l.to(DEV)
        with torch.no_grad():
            l.gamma.fill_(1.)
            for _ in range(20): l(x[:1])
    return dict(ours=lambda: step(ours, ours, x), theirs=lambda: step(theirs, theirs, x))

def image(B, C, side): return (torch.randn(B, C, side, side, device=DEV)*.1).requires_grad_()
def batch(C, N): return sized(max(1, min(64, 2**21//(C*N))))

def simple():
    "SimpleSelfAttention at every size; the five that a target names, and 0.95 elsewhere: never slower"
    want = {(64,1024):2.5, (64,4096):2., (256,1024):1.5, (256,64):1.5, (512,16):5.}
    for C in (64,256,512):
        for N in (16,64,256,1024,4096):
            x = image(batch(C,N), C, int(N**.5))
            yield row('SimpleSelfAttention', "fastai's layer", want.get((C,N), .95), pair(SimpleSelfAttention(C), FastaiSimple(C, ks=1), x),
                .5 if C==64 and (C,N) in want else None, channels=C, positions=N, batch=len(x))
    x = image(sized(2), 64, 64)
    yield row('SimpleSelfAttention', 'the published order', 40., pair(SimpleSelfAttention(64), PublishedOrder(64, ks=1), x), .05, channels=64, positions=4096,
        batch=len(x), rounds=5)

def self_():
    for C,N in ((64,64),(64,256),(64,1024),(256,64),(256,256),(256,1024),(512,16),(512,64),(64,4096)):
        x = image(max(1, batch(C,N)//2), C, int(N**.5))
        yield row('SelfAttention', "fastai's layer", 1.7 if N==4096 else .95, pair(SelfAttention(C), FastaiSelf(C), x), .1 if N==4096 else None, channels=C,
            positions=N, batch=len(x))

def local():
    for C,side,B,bound in ((64,32,4,4.5), (128,16,8,6.), (256,8,8,3.3), (64,32,8,None), (128,16,4,None), (256,8,4,None)):
        B = sized(B)
        layer,x = LocalSelfAttention(C).to(DEV), torch.randn(B, C, side, side, device=DEV, requires_grad=True)
        assert torch.allclose(layer(x), unfolded(layer, x), atol=1e-4), 'the two forms differ'
        forms = dict(ours=lambda: step(layer, layer, x), theirs=lambda: step(lambda o: unfolded(layer, o), layer, x))
        yield row('LocalSelfAttention', 'a correct unfold form', bound, forms, .3, channels=C, side=side, window=7, heads=8, batch=B)

def mhsa():
    from timm.layers.bottleneck_attn import BottleneckAttn
    for side,bound in ((8,.95),(16,.95),(32,1.1)):
        x = torch.randn(sized(4), 256, side, side, device=DEV, requires_grad=True)
        ours,theirs = MHSA2d(256, side).to(DEV), BottleneckAttn(256, feat_size=(side,side)).to(DEV)
        yield row('MHSA2d', "timm's BottleneckAttn", bound, dict(ours=lambda: step(ours, ours, x), theirs=lambda: step(theirs, theirs, x)), channels=256,
            side=side, heads=4, batch=len(x))

def share():
    "What the layer adds to a whole training step of its network, ours and fastai's"
    for backbone,size,B in (('xresnet18',64,16),('xresnet50',128,4)):
        B = sized(B)
        x,y = torch.randn(B,3,size,size, device=DEV), torch.randint(10, (B,), device=DEV)
        def made(v):
            m = create_model(backbone, v, 10, size, 0).to(DEV)
            def f(): m.zero_grad(); F.cross_entropy(m(x), y).backward()
            return f
        forms = {o:made(o) for o in ('baseline','simple','self')}
        for o in ('simple','self'): forms[f"fastai's {o}"] = made(plain_variant(o))
        ms = side_by_side(forms, 7)
        base = ms['baseline']['ms']
        r = dict(what='share of a training step', backbone=backbone, size=size, batch=B, ms=ms,
            adds={k:round(v['ms']/base-1, 3) for k,v in ms.items() if k!='baseline'}, ok=True)
        print(r['what'], backbone, size, {k:f'{v:+.1%}' for k,v in r['adds'].items()}, flush=True)
        yield r

SECTIONS = dict(simple=simple, self=self_, local=local, mhsa=mhsa, share=share)

def main(*names):
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    rows = [r for n in names or SECTIONS for r in SECTIONS[n]()]
    if not names: save('layers', rows, 'torch', 'fastai', 'timm', ok=all(r['ok'] for r in rows))
    return rows

if __name__=='__main__': sys.exit(not all(r['ok'] for r in main(*sys.argv[1:])))
