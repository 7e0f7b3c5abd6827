"""Local attention by blocks against the same attention by unfolding every window: time, and memory at its peak, forward and backward.

python benchmarks/local_attention.py"""
import torch,torch.nn.functional as F
from common import save,side_by_side
from simpleattn.local import LocalSelfAttention
from simpleattn.models import peak_memory

def unfolded(layer, x):
    "The layer's attention with a copy of the window for each query, border cut"
    q,k,v = layer.project(x)
    places,heads = layer.places(x), layer.heads
    k,v = (F.unfold(t, layer.window, padding=layer.lo).unflatten(1, (heads,-1,layer.window**2)).mT for t in (k,v))
    q = q.flatten(2).unflatten(1, (heads,-1))
    offsets = torch.cat([layer.row[:,:,None].expand(-1,-1,layer.window,-1), layer.col[:,None].expand(-1,layer.window,-1,-1)], -1).flatten(1,2)
    s = torch.einsum('bhdn,bhdnw->bhnw', q, k) + torch.einsum('bhdn,hwd->bhnw', q, offsets)
    seen = (places[0][1][:,None,:,None] & places[1][1][None,:,None]).flatten(2).flatten(0,1)
    return torch.einsum('bhnw,bhdnw->bhdn', s.masked_fill(~seen, float('-inf')).softmax(-1), v).reshape(len(x), -1, *x.shape[2:])

def step(f, layer, x):
    layer.zero_grad(); x.grad = None
    f(x).square().sum().backward()

def main():
    torch.set_num_threads(1)
    dev,rows = torch.device('cuda' if torch.cuda.is_available() else 'cpu'), []
    for C,side in ((64,32),(128,16),(256,8)):
        layer,x = LocalSelfAttention(C).to(dev), torch.randn(8, C, side, side, device=dev, requires_grad=True)
        assert torch.allclose(layer(x), unfolded(layer, x), atol=1e-4), 'the two forms differ'
        forms = dict(blocks=lambda: step(layer, layer, x), unfolded=lambda: step(lambda o: unfolded(layer, o), layer, x))
        ms,mem = side_by_side(forms), {k:peak_memory(f, dev)/2**20 for k,f in forms.items()}
        rows.append(dict(batch=8, channels=C, side=side, window=7, heads=8, ms=ms, peak_mib={k:round(v,1) for k,v in mem.items()},
            times_faster=round(ms['unfolded']['ms']/ms['blocks']['ms'], 2), memory_ratio=round(mem['blocks']/mem['unfolded'], 3)))
        print(rows[-1], flush=True)
    save('local_attention', rows, 'torch')

if __name__=='__main__': main()
