"""A training step by precision and memory format; what the Learner and the optimiser add; what the host asks for around a network.

python benchmarks/step.py [host], the latter for the host's row alone. On a CPU the claim is bfloat16 with channels last against float32, where the processor multiplies bfloat16 faster."""
import dataclasses,json,sys,tempfile,warnings
from pathlib import Path
warnings.simplefilter('ignore')
import torch,torch.nn.functional as F
from common import RECORDS,machine,save,side_by_side
from fastai.optimizer import Adam
from simpleattn.models import create_model
from simpleattn.optimisers import foreach
from simpleattn.train import compiled_once,keep_freed_memory

DEV = torch.device('cuda' if torch.cuda.is_available() else 'cpu')

def bfloat16_rate(n=1024):
    "How many times faster the device multiplies matrices in bfloat16 than in float32. A flag of the processor does not say: without AMX its products may be as slow as float32's, or slower"
    m = torch.randn(n, n, device=DEV); l = m.bfloat16()
    ms = side_by_side(dict(float32=lambda: m@m, bfloat16=lambda: l@l), 9, .05)
    return round(ms['float32']['ms']/ms['bfloat16']['ms'], 2)

def steps(backbone, size, B, variant='simple'):
    "Forward and backward, by precision and memory format"
    y = torch.randint(10, (B,), device=DEV)
    def made(dtype, last, compiled=False):
        m = create_model(backbone, variant, 10, size, 0).to(DEV)
        x = torch.randn(B,3,size,size, device=DEV)
        if last: m,x = m.to(memory_format=torch.channels_last),x.to(memory_format=torch.channels_last)
        if compiled: m = compiled_once(m)
        def f():
            m.zero_grad()
            with torch.autocast(DEV.type, dtype, enabled=dtype!=torch.float32): loss = F.cross_entropy(m(x), y)
            loss.backward()
        return f
    forms = {f"{str(d)[6:]}{', channels last'*l}":made(d, l) for d in (torch.float32, torch.bfloat16) for l in (False, True)}
    if DEV.type=='cuda': forms['bfloat16, channels last, compiled'] = made(torch.bfloat16, True, True)
    return forms

def optimisers(backbone='xresnet50'):
    "A step of Adam alone, fastai's and over all tensors at once"
    def made(many):
        m = create_model(backbone, 'baseline', 10, 64, 0).to(DEV)
        opt = Adam(list(m.parameters()), lr=1e-3, wd=.01)
        if many: foreach(opt)
        for p in m.parameters(): p.grad = torch.randn_like(p)
        return opt.step
    return {"fastai's Adam":made(False), 'over all tensors':made(True)}

def learners(batches=12):
    "An epoch of fastai's loop with this library's callbacks (and 36 images to validate), against the same batches in a bare loop"
    from simpleattn.recipes import load_recipes
    from simpleattn.shapes import make_shapes
    from simpleattn.train import get_learner
    r = dataclasses.replace(load_recipes()['demo'], epochs=1, dataset='drawn')
    path = make_shapes(Path(tempfile.mkdtemp())/'drawn', r.bs*batches, 36)
    learn,bare = (get_learner(r, 'simple', 0, path, device=DEV) for _ in range(2))
    opt = bare.opt_func(list(bare.model.parameters()), lr=r.lr, wd=r.wd)
    bare.model.to(memory_format=torch.channels_last).train()
    def loop():
        for x,y in bare.dls.train: F.cross_entropy(bare.model(x.as_subclass(torch.Tensor)), y.as_subclass(torch.Tensor), label_smoothing=r.smooth).backward(); opt.step(); opt.zero_grad()
    def whole():
        with learn.no_bar(), learn.no_logging(): learn.fit(1)
    return {'a bare loop':loop, 'the Learner':whole}

class Free(torch.autograd.Function):
    "A result and gradients for every parameter, at no cost: one call, as a compiled network is"
    @staticmethod
    def forward(ctx, x, out, grads, *params):
        ctx.grads = grads
        return out.expand(len(x), -1) + x.flatten(1)[:,:1]
    @staticmethod
    def backward(ctx, g): return (None, g.sum(0), None, *ctx.grads)

class NoNetwork(torch.nn.Module):
    "The parameters of an xresnet50, tiny, and no work with them"
    def __init__(self, n_out):
        super().__init__()
        self.holds = create_model('xresnet50', 'baseline', n_out, 32, 0, widen=.0625)
        self.out = torch.nn.Parameter(torch.zeros(n_out))
        self.params = list(self.holds.parameters())
        self.grads = [torch.zeros_like(p) for p in self.params]
    def forward(self, x): return Free.apply(x, self.out, self.grads, *self.params)

def hosts(batches=200):
    "An epoch of steps in bfloat16 without their network, plain and lean, of two tiny images that are cut as a GPU cuts them; an epoch's time is the time of asking"
    from simpleattn import train
    from simpleattn.recipes import load_recipes
    from simpleattn.shapes import make_shapes
    r = dataclasses.replace(load_recipes()['demo'], epochs=1, dataset='drawn', bs=2, presize=8, size=8, val_extra=2, precision='bfloat16', lr=1e-9)
    path = make_shapes(Path(tempfile.mkdtemp())/'drawn', r.bs*batches, 12)
    def made(lean):
        learn = train.get_learner(r, 'baseline', 0, path, device='cpu', lean=lean)
        learn.model = NoNetwork(learn.dls.c)
        if lean: train.take_with_loss(learn, r)
        for dl in learn.dls: dl.dataset.device = torch.device('cpu')
        def epoch():
            with learn.no_bar(), learn.no_logging(): train.fit_recipe(learn, r)
        return epoch
    return dict(plain=made(False), lean=made(True))

def host(batches=200, rounds=9):
    "The row of the host: milliseconds a step by which it is not free"
    ms = side_by_side(hosts(batches), rounds)
    for o in ms.values(): o.update({k:round(v/batches, 3) for k,v in o.items()})
    share = round(ms['lean']['ms']/ms['plain']['ms'], 3)
    return dict(what='host', parameters='xresnet50', batches=batches, ms=ms, share=share, at_most=.6, ok=share<=.6, machine=machine('torch', 'fastai'))

def main_host():
    "The host's row anew in the record that is there; it is a ratio within one process, and names its machine"
    torch.set_num_threads(1)
    keep_freed_memory()
    record = RECORDS/'step.json'
    old = json.loads(record.read_text())
    row = host()
    print(row, flush=True)
    old['rows'] = [r for r in old['rows'] if r['what']!='host'] + [row]
    old['ok'] = all(r['ok'] for r in old['rows'])
    record.write_text(json.dumps(old, indent=1)+'\n')
    return row['ok']

def main():
    torch.set_num_threads(1)
    keep_freed_memory() # as every training of this library does
    rate,rows = bfloat16_rate(),[]
    print(f'a product in bfloat16 is {rate}x as fast as in float32' + (': the claim on bfloat16 steps is for devices where it is 1.5x' if rate<1.5 else ''), flush=True)
    for backbone,size,B,want in (('xresnet18',64,16,1.6),('xresnet18',32,64,None),('xresnet50',128,4,None)) if DEV.type=='cpu' else (('xresnet18',128,64,None),('xresnet50',128,64,None)):
        ms = side_by_side(steps(backbone, size, B), 7, .2)
        last = [*ms][-1]
        r = dict(what='step', backbone=backbone, size=size, batch=B, ms=ms, times_faster=round(ms['float32']['ms']/ms[last]['ms'], 2), at_least=want)
        r['ok'] = want is None or rate<1.5 or r['times_faster']>=want
        print(f"{backbone} {size} px: {last} {r['times_faster']}x float32 (to reach: {want}x)", {k:v['ms'] for k,v in ms.items()}, flush=True)
        rows.append(r)
    for what,forms in (('optimiser',optimisers()),('learner',learners())):
        ms = side_by_side(forms, 7)
        a,b = ms
        rows.append(dict(what=what, ms=ms, ratio=round(ms[b]['ms']/ms[a]['ms'], 3), ok=True))
        print(f"{b} takes {rows[-1]['ratio']} of the time of {a}", {k:v['ms'] for k,v in ms.items()}, flush=True)
    if DEV.type=='cpu': rows.append(host())
    ok = all(r['ok'] for r in rows)
    save('step', rows, 'torch', 'fastai', ok=ok, bfloat16_rate=rate)
    return ok

if __name__=='__main__': sys.exit(not (main_host() if sys.argv[1:]==['host'] else main()))
