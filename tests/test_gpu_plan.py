"""The plan for fifteen minutes of GPU: a dry run of both calls on a CPU, so that it cannot rot, and what it carries"""
import json,os,re,subprocess,sys
import pytest
from conftest import ROOT,run_process

PLAN = ROOT/'benchmarks'/'gpu'

def call(which, work, **env):
    return run_process(sys.executable, PLAN/'plan.py', *which.split(), timeout=1800, env=dict(GPU_DRY='1', GPU_PATIENCE='4', GPU_WORK=str(work), GPU_PACK='none', OUT=str(work/'out'), CUDA_VISIBLE_DEVICES='', **env))

def rows(work, name): return json.loads((work/f'{name}.json').read_text())

@pytest.mark.slow
def test_both_calls_run_dry(tmp_path):
    "Every step ends well, each row without an error, and the records and logs are there to take home"
    a = call('a', tmp_path)
    assert a.returncode==0 and 'End of A' in a.stdout, a.stdout+a.stderr
    b = call('b 2400', tmp_path, GPU_DATA=str(tmp_path/'photos'))
    assert b.returncode==0, b.stdout+b.stderr
    steps = 'facts smoke warm solo short decode study ratio more'.split()
    for name in steps: assert re.search(rf'\] {name}: 0$', a.stdout+b.stdout, re.M), a.stdout+b.stdout
    for name in steps:
        if name=='study': continue
        assert rows(tmp_path, name) and not [o for o in rows(tmp_path, name) if o.get('error')]
    assert rows(tmp_path, 'smoke')[-1]['mode']=='compiled' and len(rows(tmp_path, 'warm'))==12
    assert '11 records' in b.stdout and all((tmp_path/'out'/o).stat().st_size for o in ('logs.tgz','runs.tgz','plan.log'))

@pytest.mark.slow
def test_a_step_that_is_stopped_at_its_limit_loses_nothing_and_ends_nothing(tmp_path):
    "The study is stopped; what it has finished is a record, and the steps after it begin"
    code = f'''
import sys; sys.path.insert(0, {str(PLAN)!r})
import plan
plan.set_up()
assert plan.step('facts', 120)
p = plan.start('sleeps', [sys.executable, '-c', 'import time; print("one", flush=True); time.sleep(600)'])
assert not plan.finish('sleeps', p, 3)
assert plan.step('facts', 120)'''
    res = run_process(sys.executable, '-c', code, env=dict(GPU_DRY='1', GPU_WORK=str(tmp_path), GPU_PACK='none', OUT=str(tmp_path/'out'), CUDA_VISIBLE_DEVICES=''), timeout=300)
    assert res.returncode==0 and 'sleeps: stopped at its limit' in res.stdout and '  one' in res.stdout, res.stdout+res.stderr

def test_the_wheels_that_are_carried_are_the_pinned_ones():
    pins = dict(l.split(';')[0].strip().split('==') for l in (ROOT/'constraints.txt').read_text().splitlines() if '==' in l.split(';')[0] and not l.startswith('#'))
    carried = dict(l.split('==') for l in (PLAN/'wheels.txt').read_text().split())
    assert {k:pins.get(k) for k in carried}==carried
    assert {'fastai','fastcore'}<=carried.keys() and not {'torch','torchvision','timm'} & carried.keys()

def test_what_is_packed_is_in_two_parts_beside_the_project_at_its_commit(tmp_path):
    "With a stand-in for pip, and a small archive"
    python = tmp_path/'python'
    python.write_text('#!/bin/sh\nwhile [ "$1" != -d ]; do shift; done\ntouch "$2/some.whl"\n')
    python.chmod(0o755)
    archive = tmp_path/'images.tgz'
    archive.write_bytes(os.urandom(1001))
    res = run_process('bash', PLAN/'pack.sh', tmp_path/'pack', archive, cwd=ROOT, env=dict(PYTHON=str(python)))
    assert res.returncode==0, res.stderr
    parts = [tmp_path/'pack'/f'data{i+1}'/f'part.{i}' for i in (0,1)]
    assert b''.join(o.read_bytes() for o in parts)==archive.read_bytes() and (tmp_path/'pack'/'whl'/'some.whl').exists()
    head = run_process('git', 'bundle', 'list-heads', tmp_path/'pack'/'repo.bundle', cwd=ROOT).stdout.split()[0]
    assert head==run_process('git', 'rev-parse', 'HEAD', cwd=ROOT).stdout.strip()
