"""Does the fast path train as well as the plain one? A race of this project's own: the same seeds, crops and weights through this library's layer in bfloat16 (on a GPU
compiled too), and through fastai's layer in float32, until better, worse or equivalent is decided. Delta is 2 points on a CPU and 1 on a GPU.

python benchmarks/fast_vs_plain.py [CAP [ROOT]]; with ROOT, a run that was stopped goes on."""
import dataclasses,sys,tempfile,warnings
warnings.simplefilter('ignore')
import torch
from common import save
from plain_fastai import plain_variant
from simpleattn.recipes import load_recipes
from simpleattn.plan import race_seeds
from simpleattn.study import Study

GPU = torch.cuda.is_available()

def accuracies(arms, seeds, root):
    "Of both arms, in the order of seeds"
    s = Study('fast-vs-plain', arms, seeds, root=root)
    df = s.run('local', None, None, 'cuda' if GPU else 'cpu', progress=False).runs().set_index(['arm','seed'])
    return [[float(df.acc[a,i]) if df.status[a,i]=='ok' else float('nan') for i in range(seeds)] for a in s.arms]

def main(cap=60, root=None, by=4):
    r = dataclasses.replace(load_recipes()['woof-128-5' if GPU else 'demo'], name='plain', precision='float32')
    fast,delta = dataclasses.replace(r, name='fast', precision='bfloat16', compile=GPU), .01 if GPU else .02
    with tempfile.TemporaryDirectory() as tmp:
        for n in range(by, cap+1, by):
            plain,quick = accuracies([(r, plain_variant('simple')), (fast, 'simple')], n, root or tmp)
            states = [s.to_dict() for s in race_seeds(plain, quick, delta, .05)]
            s = states[-1]
            span = '' if s['low'] is None else f" ({100*s['low']:+.2f} to {100*s['high']:+.2f})"
            print(f"{s['n']} pairs: {100*s['mean']:+.2f} points{span}, {s['verdict']}", flush=True)
            if s['verdict']!='undecided': break
    mean = lambda x: sum(x)/len(x)
    row = dict(recipe='woof-128-5' if GPU else 'demo', delta=delta, pairs=s['n'], plain=[round(o,6) for o in plain], fast=[round(o,6) for o in quick], mean_plain=round(mean(plain),5), mean_fast=round(mean(quick),5), state=s)
    save('fast_vs_plain', [row], 'torch', 'fastai', ok=s['verdict']!='worse')
    return s['verdict']!='worse'

if __name__=='__main__': sys.exit(not main(*([int(sys.argv[1])] if sys.argv[1:] else []), *sys.argv[2:3]))
