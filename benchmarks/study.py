"""Runs an hour of a study, by the clock: this library's workers against the same trainings in plain fastai (DataBlock, float32, its own layers; one process).

python benchmarks/study.py [BLOCKS]. Blocks of both take turns; each block of ours pays for its own workers, theirs has paid for its imports before. The study is the demo,
on a CPU; benchmarks/gpu measures a study on a GPU within a lease."""
import dataclasses,os,sys,tempfile,time,warnings
from pathlib import Path
warnings.simplefilter('ignore')
os.environ.pop('OMP_NUM_THREADS', None) # plain fastai takes all cores; this library's workers take one each whatever it is
import torch
from common import save
from plain_fastai import plain_run
from step import bfloat16_rate
from simpleattn.data import get_path
from simpleattn.recipes import load_recipes
from simpleattn.runs import load_runs
from simpleattn.study import Study

ARMS = ['baseline','self','simple']
DEV = 'cpu'

def ours(r, seeds, root, k, workers=None):
    "Seconds for the study's runs of some seeds"
    t = time.perf_counter()
    s = Study(f'{r.name}-{k}', ARMS, [1000*k+i for i in range(seeds)], recipe=r, root=f'{root}/{k}')
    s.run('local', workers, None, DEV, progress=False)
    assert not s.missing()
    return time.perf_counter()-t

def theirs(path, r, seeds, k):
    t = time.perf_counter()
    for i in range(seeds):
        for a in ARMS: plain_run(path, r, a, 1000*k+i, 0, DEV)
    return time.perf_counter()-t

def main(blocks=3):
    if torch.cuda.is_available():
        print('study: on a GPU, benchmarks/gpu measures a study; skipped')
        return True
    f32 = load_recipes()['demo']
    forms = {'float32':f32, 'bfloat16':dataclasses.replace(f32, name=f'{f32.name}-bfloat16', precision='bfloat16')}
    path,seeds = get_path(f32.dataset, f32.source),dict(ours=4, theirs=1) # 12 runs, which two workers share evenly, as they nearly do the runs of a whole study
    rates = {k:[] for k in ['plain fastai',*forms]}
    with tempfile.TemporaryDirectory() as root:
        plain_run(path, dataclasses.replace(f32, epochs=1), 'baseline', 0, 0, DEV); ours(dataclasses.replace(f32, name='first', epochs=1), 2, root, 99)
        for k in range(blocks):
            rates['plain fastai'].append(3600*3*seeds['theirs']/theirs(path, f32, seeds['theirs'], k))
            for n,r in forms.items(): rates[n].append(3600*3*seeds['ours']/ours(r, seeds['ours'], root, k))
            print({n:round(v[-1]) for n,v in rates.items()}, flush=True)
        grows = {n:round(ours(f32, n, root, 500+n), 1) for n in (2,4)}
        later = sorted(load_runs(f"{root}/{blocks-1}", recipe=[*forms.values()][-1].name).wall_seconds)
    med = {k:sorted(v)[len(v)//2] for k,v in rates.items()}
    rate = bfloat16_rate()
    want = {'float32':2.3} | ({'bfloat16':3.} if rate>=1.5 else {}) # see step.py
    rows = [dict(form=k, runs_an_hour=round(v), all=[round(o) for o in rates[k]], times_faster=round(v/med['plain fastai'],2), at_least=want.get(k), ok=v>=want.get(k,0)*med['plain fastai']) for k,v in med.items()]
    for r in rows: print(f"{r['form']:20} {r['runs_an_hour']:6,} runs an hour, {r['times_faster']}x plain fastai (to reach: {r['at_least']})", flush=True)
    ok = all(r['ok'] for r in rows)
    name = 'study_fast_bfloat16' if rate>=1.5 else 'study' # a record for each kind of processor
    save(name, rows, 'torch', 'fastai', ok=ok, recipe=f32.name, arms=ARMS, bfloat16_rate=rate, seconds_by_seeds=grows, fastest_run_s=later[0], median_run_s=later[len(later)//2])
    return ok

if __name__=='__main__': sys.exit(not main(*map(int, sys.argv[1:])))
