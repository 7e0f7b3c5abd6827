"""Runs an hour by the number of runs at a time, up to one a core of a CPU.

python benchmarks/at_once.py [ROUNDS], 3 unless told. Settings take turns; each makes six runs, the start of its workers included, so that short studies are not promised too much."""
import dataclasses,os,sys,tempfile,warnings
warnings.simplefilter('ignore')
import torch
from common import save
from study import ours
from simpleattn.recipes import load_recipes

def main(rounds=3):
    if torch.cuda.is_available():
        print('at_once: on a GPU, benchmarks/gpu measures a study; skipped')
        return True
    r = load_recipes()['demo']
    settings = tuple(range(1, len(os.sched_getaffinity(0))+1))
    rates = {n:[] for n in settings}
    with tempfile.TemporaryDirectory() as root:
        ours(dataclasses.replace(r, name='first', epochs=1), 2, root, 99)
        for k in range(rounds):
            for n in settings: rates[n].append(3600*6/ours(r, 2, root, 100*k+n, n)); print(r.name, n, round(rates[n][-1]), flush=True)
    med = {n:sorted(v)[len(v)//2] for n,v in rates.items()}
    rows = [dict(recipe=r.name, backbone=r.backbone, at_once=n, runs_an_hour=round(med[n]), all=[round(o) for o in rates[n]], times_one=round(med[n]/med[1],2)) for n in settings]
    for o in rows: print(f"{o['recipe']:20} {o['at_once']} at a time: {o['runs_an_hour']:6,} runs an hour, {o['times_one']}x one at a time")
    save('at_once', rows, 'torch', 'fastai')
    return True

if __name__=='__main__': sys.exit(not main(*map(int, sys.argv[1:])))
