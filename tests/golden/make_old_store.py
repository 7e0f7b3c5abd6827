"""What c1d5ce0 wrote: old_store/, a small store whose records and declarations must stay readable, and old_store.json.xz, what c1d5ce0 said of it.

    cd CHECKOUT-OF-c1d5ce0 && PYTHONPATH=. python THIS-FILE

It runs with c1d5ce0 alone (capped races, runs over two GPUs). Nothing is trained: accuracies and bits are drawn.
"""
import hashlib,json,shutil,sys,tempfile
from pathlib import Path
import numpy as np
sys.path.insert(0, str(Path(__file__).resolve().parent))
import make
from simpleattn.recipes import derive,load_recipes
from simpleattn.runs import Run,pack_bits,run_path,write_failure,write_run
from simpleattn.study import Study
from simpleattn.variants import Variant,get_variant

ROOT,ENV,GPUS,N = make.HERE/'old_store','cpu-torch2.15','nvidia-h100-80gb-hbm3-x2-torch2.15',300
VERSIONS = dict(python='3.12.3', torch='2.15.0', torchvision='0.30.0', fastai='2.8.12', timm='1.0.20', numpy='2.3.4', pillow='12.0.0', simpleattn='0.4.0')
LAYER = '''from torch import nn
class Mine(nn.Module):
    def __init__(self, ni): super().__init__(); self.conv = nn.Conv2d(ni, ni, 1); nn.init.zeros_(self.conv.weight)
    def forward(self, x): return x + self.conv(x)
'''
hardness = np.random.default_rng(7).beta(2, 2, N)

def made(r, v, seed, gain=0., sd=.012, env=ENV, status='ok', facts=None):
    "A run as a training would have made it"
    rng,own = (np.random.default_rng([seed,k]) for k in (1, int(hashlib.sha256(v.hash.encode()+r.hash.encode()).hexdigest()[:6], 16)))
    p = np.clip(1.15-.9*hardness + .02*rng.standard_normal() + gain + sd*own.standard_normal(), 0, 1)
    bits = (rng.random(N)*.6 + own.random(N)*.4)<p
    acc,lost = float(bits.mean()),status!='ok'
    history = [] if lost else [dict(train_loss=2.+.01*seed, valid_loss=1.9, acc=round(acc-.1, 6)), dict(train_loss=1.5, valid_loss=1.2+.001*seed, acc=acc)]
    machine = dict(device='cpu' if env==ENV else 'NVIDIA H100 80GB HBM3', threads=1, system='Linux x86_64', versions=VERSIONS, commit='c1d5ce000000',
        finished=f'2026-11-2{seed%8}T0{seed%10}:00:00Z') | (facts or {})
    return Run(r.to_dict(), r.hash, v.to_dict(), env, seed, status, None if lost else acc, None if lost else acc, None if lost else 2, N, '' if lost else pack_bits(bits),
        history, 700_000+len(v.name), 10.+seed, 12.+seed/8, dict(dataset='shapes', source='full', fingerprint='0123456789abcdef', n_files=1500, n_train=1200, n_val=N), machine,
        reason='loss not finite' if lost else '', weights='' if lost else f'{seed:016x}', flops=9_000_000+len(v.name))

def fill(s, gains={}, lost=(), **kwargs):
    "Records of a study that are not there yet"
    for k,a in s.arms.items():
        for seed in s.seeds:
            r,v = a.made_of
            if (ROOT/run_path(r.name, v.name, s.env, seed)).exists(): continue
            write_run(made(r, v, seed, gains.get(k, 0.), status='diverged' if (k,seed) in lost else 'ok', env=s.env, **kwargs), ROOT)

def old_format(p):
    "A record from before weights and FLOPs were taken"
    d = {k:v for k,v in json.loads(p.read_text()).items() if k not in ('weights','flops','sha256')}
    d['sha256'] = hashlib.sha256(json.dumps(d, sort_keys=True).encode()).hexdigest()
    p.write_text('{\n' + ',\n'.join(f' {json.dumps(k)}: {json.dumps(v)}' for k,v in d.items()) + '\n}\n')

def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir()
    demo = load_recipes(make.SETTINGS)['demo']
    slow = derive(demo, lr='0.008')
    with tempfile.TemporaryDirectory() as tmp:
        (Path(tmp)/'mine.py').write_text(LAYER)
        mine = Variant('mine', f'{tmp}/mine.py:Mine')
    of = dict(recipe=demo, root=ROOT, env=ENV)
    studies = dict(
        sites=Study('sites', ['baseline','simple@2.-1','sasa@replace:3-4'], 6, contrasts=[['simple-at-2.-1','sasa-at-replace3_replace4']], **of),
        derived=Study('derived', [(demo,'baseline'),(slow,'baseline'),(slow,'self')], 4, root=ROOT, env=ENV, delta=.02),
        own=Study('own', ['baseline',mine], 6, **of),
        capped=Study('capped', ['baseline','symmetric'], 12, raced=dict(arms=1, looks=3, cap=12), **of),
        valid=Study('valid', ['baseline','simple','self'], 12, raced=dict(arms=2, looks=None, cap=None), **of),
        gpus=Study('gpus', ['baseline','simple'], 4, recipe=demo, root=ROOT, env=GPUS))
    for s in studies.values(): s.declare()
    fill(studies['sites'], {'simple-at-2.-1':.03, 'sasa-at-replace3_replace4':-.05}, [('simple-at-2.-1',3)])
    at = write_failure('demo', 'simple-at-2.-1', ENV, 4, 'RuntimeError: out of memory\n  File "layer.py"', ROOT)
    print('a failed try:', at.relative_to(ROOT))
    fill(studies['derived'], {'demo_lr-0.008/baseline':.01, 'demo_lr-0.008/self':.02})
    grown = Study('derived', [(demo,'baseline'),(slow,'baseline'),(slow,'self')], 5, root=ROOT, env=ENV, delta=.02)
    grown.declare()
    fill(grown, {'demo_lr-0.008/baseline':.01, 'demo_lr-0.008/self':.02})
    fill(studies['own'], dict(mine=.004))
    fill(studies['capped'], dict(symmetric=.06))
    fill(studies['valid'], dict(simple=.12, self=.0), [('self',5)])
    fill(studies['gpus'], dict(simple=.02), facts=dict(gpus=2, effective_bs=64))
    for seed in (0,1): old_format(ROOT/run_path('demo', 'baseline', ENV, seed))
    p = ROOT/run_path('demo', 'mine', ENV, 5)
    p.write_text(p.read_text().replace('"status": "ok"', '"status": "oK"')) # a record that cannot be believed
    for k in ('capped','valid'): studies[k].keep_race(False)
    for d in (o for o in ROOT.rglob('.lock')): d.unlink()
    said = make.of_old_store(ROOT)
    capped = make.public('load_study')('capped', ROOT)
    info = dict(states=make.plain(capped.race_states()), sentences=[c.sentence() for c in capped.compare()], compare=make.cli('compare', 'capped', '--root', ROOT, '--fmt', 'json'))
    shutil.rmtree(ROOT/'out', ignore_errors=True)
    make.write('old_store.json.xz', said)
    (make.HERE/'capped.json').write_text(json.dumps(info, indent=1)+'\n')

if __name__=='__main__': main()
