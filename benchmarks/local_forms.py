"""Local attention on a GPU: the library's block form against three candidates, forward and backward.

python benchmarks/local_forms.py [all]: bfloat16 at the sizes of training, or float32 and a large map too. The candidates are here and not in the library until a record says which of them is worth having: plain attention over the separable form,
FlexAttention, and a small Triton kernel over offsets. `check` holds them to the layer, gradients included; so do the tests, on a CPU, where Triton interprets its kernel
and FlexAttention has no backward."""
import copy,sys
import torch,torch.nn.functional as F
from common import save,side_by_side
from simpleattn.local import LocalSelfAttention
from simpleattn.models import peak_memory
try: import triton,triton.language as tl
except ImportError: triton = None

FAR = -1e4 # the logit of a key outside the window, finite so that it can be multiplied by 0

def parts(layer, x):
    "Queries, keys and values (B, heads, N, d), and each query's logits of the row and column offsets (B, heads, N, window)"
    q,k,v = (t.flatten(2).unflatten(1, (layer.heads,-1)).mT for t in layer.project(x))
    a,b = q.chunk(2, -1)
    return q, k, v, torch.einsum('bhnd,hwd->bhnw', a, layer.row.to(q.dtype)), torch.einsum('bhnd,hwd->bhnw', b, layer.col.to(q.dtype))

def image(o, x): return o.mT.flatten(1,2).unflatten(2, x.shape[2:])

def blocks(layer, x): return layer(x)

def separable(layer, x):
    "[q, logits of the rows, logits of the columns] . [k, one-hot row, one-hot column] is plain attention"
    (q,k,v,row,col),(H,W) = parts(layer, x),x.shape[2:]
    def by_place(logits, at, n):
        off = torch.arange(n, device=x.device) - at[:,None] + layer.lo
        seen = (off>=0) & (off<layer.window)
        return logits.gather(-1, off.clamp(0, layer.window-1).expand(*logits.shape[:2],-1,-1)).masked_fill(~seen, FAR)
    y,z = (o.flatten() for o in torch.meshgrid(torch.arange(H, device=x.device), torch.arange(W, device=x.device), indexing='ij'))
    q = torch.cat([q, by_place(row, y, H), by_place(col, z, W)], -1)
    k = torch.cat([k, *(F.one_hot(o, n).to(k.dtype).expand(*k.shape[:2],-1,-1) for o,n in ((y,H),(z,W)))], -1)
    pad = -q.shape[-1]%8
    return image(F.scaled_dot_product_attention(F.pad(q, (0,pad)), F.pad(k, (0,pad)), F.pad(v, (0,q.shape[-1]+pad-v.shape[-1])), scale=1.)[...,:v.shape[-1]], x)

_flex = {}
def flex(layer, x):
    "FlexAttention, compiled; heads below 16 channels are filled up with zeros"
    from torch.nn.attention.flex_attention import create_block_mask,flex_attention
    (q,k,v,row,col),(H,W),lo,window = parts(layer, x),x.shape[2:],layer.lo,layer.window
    key = (H,W,lo,window,x.device)
    if key not in _flex:
        def seen(b, h, i, j):
            dy,dz = j//W - i//W + lo, j%W - i%W + lo
            return (dy>=0) & (dy<window) & (dz>=0) & (dz<window)
        _flex[key] = create_block_mask(seen, None, None, H*W, H*W, device=x.device), torch.compile(flex_attention, dynamic=False)
    mask,f = _flex[key]
    def relative(s, b, h, i, j):
        dy,dz = (j//W - i//W + lo).clamp(0, window-1), (j%W - i%W + lo).clamp(0, window-1)
        return s + row[b,h,i,dy] + col[b,h,i,dz]
    pad = max(0, 16-q.shape[-1])
    q,k,w = (F.pad(t, (0,pad)) for t in (q,k,v))
    return image(f(q, k, w, score_mod=relative, block_mask=mask, scale=1.)[...,:v.shape[-1]], x)

if triton:
    @triton.jit
    def _shifted(i, dy, dz, H, W):
        "Position dy rows and dz columns from each position, and whether it is in the image"
        y,z = i//W + dy, i%W + dz
        return y*W + z, (i<H*W) & (y>=0) & (y<H) & (z>=0) & (z<W)

    @triton.jit
    def _load(p, i, ok, c, d, D:tl.constexpr):
        "(positions, D) in float32; `d` channels"
        return tl.load(p + i[:,None]*d + c[None,:], mask=ok[:,None]&(c<d)[None,:], other=0.).to(tl.float32)

    @triton.jit
    def _forward(Q, K, V, R, C, O, L, H, W, d, LO:tl.constexpr, WIN:tl.constexpr, D:tl.constexpr, N:tl.constexpr):
        i,c,n = tl.program_id(0)*N + tl.arange(0, N), tl.arange(0, D), H*W
        ok,at = i<n, tl.program_id(1).to(tl.int64)*n
        q = _load(Q+at*d, i, ok, c, d, D)
        top,sum,o = tl.full([N], -1e30, tl.float32), tl.zeros([N], tl.float32), tl.zeros([N,D], tl.float32)
        for a in range(WIN):
            r = tl.load(R + at*WIN + i*WIN + a, mask=ok, other=0.).to(tl.float32)
            for b in range(WIN):
                j,seen = _shifted(i, a-LO, b-LO, H, W)
                s = tl.sum(q*_load(K+at*d, j, seen, c, d, D), 1) + r + tl.load(C + at*WIN + i*WIN + b, mask=ok, other=0.).to(tl.float32)
                new = tl.maximum(top, tl.where(seen, s, -1e30))
                p,old = tl.where(seen, tl.exp(s-new), 0.), tl.exp(top-new)
                sum,o,top = sum*old + p, o*old[:,None] + p[:,None]*_load(V+at*d, j, seen, c, d, D), new
        tl.store(O + at*d + i[:,None]*d + c[None,:], o/sum[:,None], mask=ok[:,None]&(c<d)[None,:])
        tl.store(L + at + i, top+tl.log(sum), mask=ok)

    @triton.jit
    def _backward_queries(Q, K, V, R, C, L, G, E, dQ, dR, dC, H, W, d, LO:tl.constexpr, WIN:tl.constexpr, WP:tl.constexpr, D:tl.constexpr, N:tl.constexpr):
        i,c,n,w = tl.program_id(0)*N + tl.arange(0, N), tl.arange(0, D), H*W, tl.arange(0, WP)
        ok,at = i<n, tl.program_id(1).to(tl.int64)*n
        q,g = _load(Q+at*d, i, ok, c, d, D), _load(G+at*d, i, ok, c, d, D)
        lse,e = tl.load(L+at+i, mask=ok, other=0.), tl.load(E+at+i, mask=ok, other=0.)
        dq,dcol = tl.zeros([N,D], tl.float32), tl.zeros([N,WP], tl.float32)
        for a in range(WIN):
            r,drow = tl.load(R + at*WIN + i*WIN + a, mask=ok, other=0.).to(tl.float32), tl.zeros([N], tl.float32)
            for b in range(WIN):
                j,seen = _shifted(i, a-LO, b-LO, H, W)
                k = _load(K+at*d, j, seen, c, d, D)
                s = tl.sum(q*k, 1) + r + tl.load(C + at*WIN + i*WIN + b, mask=ok, other=0.).to(tl.float32)
                ds = tl.where(seen, tl.exp(s-lse), 0.)*(tl.sum(g*_load(V+at*d, j, seen, c, d, D), 1)-e)
                dq += ds[:,None]*k
                drow += ds
                dcol += tl.where((w==b)[None,:], ds[:,None], 0.)
            tl.store(dR + at*WIN + i*WIN + a, drow, mask=ok)
        tl.store(dQ + at*d + i[:,None]*d + c[None,:], dq, mask=ok[:,None]&(c<d)[None,:])
        tl.store(dC + at*WIN + i[:,None]*WIN + w[None,:], dcol, mask=ok[:,None]&(w<WIN)[None,:])

    @triton.jit
    def _backward_keys(Q, K, V, R, C, L, G, E, dK, dV, H, W, d, LO:tl.constexpr, WIN:tl.constexpr, D:tl.constexpr, N:tl.constexpr):
        j,c,n = tl.program_id(0)*N + tl.arange(0, N), tl.arange(0, D), H*W
        ok,at = j<n, tl.program_id(1).to(tl.int64)*n
        k,v = _load(K+at*d, j, ok, c, d, D), _load(V+at*d, j, ok, c, d, D)
        dk,dv = tl.zeros([N,D], tl.float32), tl.zeros([N,D], tl.float32)
        for a in range(WIN):
            for b in range(WIN):
                i,seen = _shifted(j, LO-a, LO-b, H, W)
                q,g = _load(Q+at*d, i, seen, c, d, D), _load(G+at*d, i, seen, c, d, D)
                s = tl.sum(q*k, 1) + tl.load(R + at*WIN + i*WIN + a, mask=seen, other=0.).to(tl.float32) + tl.load(C + at*WIN + i*WIN + b, mask=seen, other=0.).to(tl.float32)
                p = tl.where(seen, tl.exp(s-tl.load(L+at+i, mask=seen, other=0.)), 0.)
                dk += (p*(tl.sum(g*v, 1)-tl.load(E+at+i, mask=seen, other=0.)))[:,None]*q
                dv += p[:,None]*g
        tl.store(dK + at*d + j[:,None]*d + c[None,:], dk, mask=ok[:,None]&(c<d)[None,:])
        tl.store(dV + at*d + j[:,None]*d + c[None,:], dv, mask=ok[:,None]&(c<d)[None,:])

class _OverOffsets(torch.autograd.Function):
    "A query's offsets one after another, softmax on the way; the backward recomputes the weights, once by query and once by key, without atomics"
    @staticmethod
    def forward(ctx, q, k, v, row, col, H, W, lo):
        q,k,v,row,col = (t.contiguous() for t in (q,k,v,row,col))
        (B,h,n,d),window = q.shape,row.shape[-1]
        o,lse = torch.empty_like(v),q.new_empty(B, h, n, dtype=torch.float32)
        ctx.grid,ctx.size = (triton.cdiv(n, 32), B*h), (H, W, d)
        ctx.shape = dict(LO=lo, WIN=window, D=triton.next_power_of_2(d), N=32)
        _forward[ctx.grid](q, k, v, row, col, o, lse, *ctx.size, **ctx.shape)
        ctx.save_for_backward(q, k, v, row, col, o, lse)
        return o
    @staticmethod
    def backward(ctx, g):
        q,k,v,row,col,o,lse = ctx.saved_tensors
        g = g.contiguous()
        e = (g.float()*o.float()).sum(-1)
        dq,dk,dv,drow,dcol = (torch.empty_like(t) for t in (q,k,v,row,col))
        _backward_queries[ctx.grid](q, k, v, row, col, lse, g, e, dq, drow, dcol, *ctx.size, **ctx.shape, WP=triton.next_power_of_2(row.shape[-1]))
        _backward_keys[ctx.grid](q, k, v, row, col, lse, g, e, dk, dv, *ctx.size, **ctx.shape)
        return dq, dk, dv, drow, dcol, None, None, None

def offsets(layer, x): return image(_OverOffsets.apply(*parts(layer, x), *x.shape[2:], layer.lo), x)

FORMS = dict(blocks=blocks, separable=separable, flex=flex, **(dict(triton=offsets) if triton else {}))

def gradients(f, layer, x):
    "Output, and the gradients of the input and of every weight for an upstream gradient that is always the same"
    layer.zero_grad(); x.grad = None
    y = f(layer, x)
    y.backward(torch.linspace(-1, 1, y.numel(), device=y.device, dtype=y.dtype).view(y.shape))
    return [y.detach(), x.grad, *(p.grad for p in layer.parameters())]

def check(name, layer, x):
    "Largest difference from the block form in float64, relative to the largest number, over output and gradients; for the form, and for the block form in its own precision"
    exact = gradients(blocks, copy.deepcopy(layer).double(), x.detach().double().requires_grad_())
    return [max(((a.double()-b).abs().max()/b.abs().max()).item() for a,b in zip(gradients(f, layer, x), exact)) for f in (FORMS[name],blocks)]

def main(every=False):
    torch._dynamo.config.recompile_limit = 64 # a shape and dtype each; beyond the limit FlexAttention would be timed unfused, without a word
    if not torch.cuda.is_available(): print('local_forms: needs a GPU; skipped'); return True
    rows = []
    sizes = (64,32,64),(128,16,64),(256,8,64),(64,64,16)
    # FlexAttention compiles for each size and precision: those of training unless all are asked for
    for dtype in (torch.float32, torch.bfloat16) if every else (torch.bfloat16,):
        for C,side,B in sizes if every else sizes[:3]:
            layer,x = LocalSelfAttention(C).to('cuda', dtype), torch.randn(B, C, side, side, device='cuda', dtype=dtype, requires_grad=True)
            forms,off,held = {},{},True
            for n,f in FORMS.items():
                try: off[n] = check(n, layer, x)
                except Exception as e: off[n] = f'{type(e).__name__}: {str(e)[:300]}'; print(n, off[n], flush=True); continue
                good = off[n][0] <= max(3*off[n][1], 1e-5)
                held &= good
                if good: forms[n] = lambda f=f: gradients(f, layer, x)
            ms,mem = side_by_side(forms, 9, .1), {n:round(peak_memory(f, torch.device('cuda'))/2**20, 1) for n,f in forms.items()}
            rows.append(dict(dtype=str(dtype)[6:], channels=C, side=side, batch=B, window=7, heads=8, ms=ms, peak_mib=mem, differs=off, ok=held, best=min(ms, key=lambda n: ms[n]['ms'])))
            print(rows[-1]['dtype'], C, side, {n:f"{v['ms']:.3f} ms, {mem[n]} MiB" for n,v in ms.items()}, flush=True)
    ok = all(r['ok'] for r in rows)
    save('local_forms', rows, 'torch', 'triton', ok=ok)
    return ok

if __name__=='__main__': sys.exit(not main('all' in sys.argv[1:]))
