"""One run by several processes: fastai's distributed trainer over gloo on a CPU stands in for several GPUs"""
import dataclasses,json
import pytest
from fastcore.script import CliError
from conftest import cli,python
from simpleattn.engines import make_engine
from simpleattn.recipes import derive
from simpleattn.runs import find_runs,this_env
from simpleattn.study import Study

SCRIPT = '''
import sys,json
from simpleattn.recipes import Recipe
from simpleattn.train import train_one
r = Recipe(**json.loads(sys.argv[1]))
runs = [train_one(r, 'simple', 0, sys.argv[2], device='cpu', gpus=2) for _ in range(2)]
print(json.dumps([dict(r.to_dict()) for r in runs]))
'''

@pytest.mark.slow
def test_two_processes_train_one_run_with_twice_the_batch(recipe, tiny, settings, tmp_path, monkeypatch):
    "In the worker of a study, at the command line"
    monkeypatch.chdir(tmp_path)
    res = cli('study', 'tiny-10', '--variants', 'baseline,simple', '--runs', '2', '--settings', settings, '--data', tiny, '--root', 'runs', '--device', 'cpu',
        '--workers', '1', '--name', 's',
        '--gpus-per-run', '2', '--set', 'epochs=2', '--fmt', 'json')
    assert res.returncode==0 and 'Traceback' not in res.stderr, res.stderr
    got,bad = find_runs('runs')
    assert bad=={} and len(got)==4 and {r.env for r in got}=={this_env('cpu', 2)} and this_env('cpu', 2).startswith('cpu-x2-')
    assert {(r.machine['gpus'],r.machine['effective_bs'],r.recipe['bs']) for r in got}=={(2,16,8)}
    for r in got: assert r.n_images==24==len(r.bits()) and len(r.history)==2 and r.acc==r.bits().mean()

@pytest.mark.slow
def test_two_processes_repeat_to_the_bit_and_learn_as_one_with_twice_the_batch(recipe, tiny):
    r = derive(recipe, epochs=3, sched='constant', lr=1e-3)
    res = python(SCRIPT, json.dumps(r.to_dict()), tiny)
    assert res.returncode==0, res.stderr
    a,b = json.loads(res.stdout.strip().splitlines()[-1])
    assert a['weights']==b['weights'] and a['history']==b['history'] and a['correct']==b['correct']
    from simpleattn.train import train_one
    one = train_one(derive(r, bs=16), 'simple', 0, tiny, device='cpu')
    assert abs(a['history'][-1]['train_loss']-one.history[-1]['train_loss'])<.35 and a['params']==one.params, 'batch norm sees half a batch at a time, so not equal'

def test_fractions_and_whole_numbers_of_gpus_are_asked_for(tmp_path, recipe, tiny):
    s = Study('s', ['baseline','simple'], 2, recipe=recipe, root=tmp_path, env=this_env('cpu'))
    for n in (0, -1, 1.5):
        with pytest.raises(CliError, match='gpus_per_run'): s.run('serial', data=tiny, gpus_per_run=n)
