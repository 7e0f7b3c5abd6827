"""The plan for fifteen minutes of GPU: a dry run of both calls on a CPU, so that it cannot rot, and what it carries"""
import json,os,re,shutil,subprocess,sys,tarfile,time
from pathlib import Path
import pytest
from conftest import ROOT,run_process

PLAN = ROOT/'benchmarks'/'gpu'

def call(which, work, **env):
    return run_process(sys.executable, PLAN/'plan.py', *which.split(), timeout=1800, env=planned(work, GPU_PATIENCE='4', **env))

def planned(work, **env):
    "What a dry run of the plan finds in its environment"
    return dict(GPU_DRY='1', GPU_WORK=str(work), GPU_PACK='none', OUT=str(work/'out'), CUDA_VISIBLE_DEVICES='') | env

def rows(work, name): return json.loads((work/f'{name}.json').read_text())

STEPS = 'facts smoke warm tests decode study ratio solo short more'.split()

@pytest.mark.slow
def test_both_calls_run_dry(tmp_path):
    "Every step ends well, each row without an error, and the records and logs are there to take home"
    a = call('a', tmp_path)
    assert a.returncode==0 and 'End of A' in a.stdout, a.stdout+a.stderr
    b = call('b 2400', tmp_path, GPU_DATA=str(tmp_path/'photos'))
    assert b.returncode==0, b.stdout+b.stderr
    for name in STEPS: assert re.search(rf'\] {name}: 0$', a.stdout+b.stdout, re.M), a.stdout+b.stdout
    for name in STEPS:
        if name in ('study','tests'): continue
        assert rows(tmp_path, name) and not [o for o in rows(tmp_path, name) if o.get('error')]
    assert rows(tmp_path, 'smoke')[-1]['mode']=='compiled' and len(rows(tmp_path, 'warm'))==12
    assert '11 records' in b.stdout and all((tmp_path/'out'/o).stat().st_size for o in ('logs.tgz','runs.tgz','plan.log'))
    check_record(tmp_path)

def check_record(work):
    "What came home becomes a record: seconds of each step, then the rows of each"
    home = work/'home'; home.mkdir()
    with tarfile.open(work/'out'/'logs.tgz') as tar: tar.extractall(home, filter='data')
    shutil.copy(work/'out'/'plan.log', home)
    code = f"import sys, pathlib; sys.path.insert(0, {str(PLAN)!r}); import record, common; common.RECORDS = pathlib.Path({str(work)!r}); record.main('made', {str(home)!r})"
    res = run_process(sys.executable, '-c', code, timeout=60)
    assert res.returncode==0, res.stderr
    record = json.loads((work/'made.json').read_text())
    took = {o['step']:o for o in record['rows'] if 'ended' in o}
    assert took.keys()=={*STEPS} and all(o['ended']=='well' and o['seconds']>=0 for o in took.values())
    assert record['machine']['cores'] and record['commit'] and sum(o['step']=='warm' and 'arm' in o for o in record['rows'])==12

@pytest.mark.slow
def test_a_step_that_is_stopped_at_its_limit_loses_nothing_and_ends_nothing(tmp_path):
    "The study is stopped; what it has finished is a record, and the steps after it begin"
    code = f'''
import sys; sys.path.insert(0, {str(PLAN)!r})
import plan
plan.set_up()
assert plan.step('facts', 120)
plan.start('sleeps', [sys.executable, '-c', 'import time; print("one", flush=True); time.sleep(600)'])
assert not plan.finish('sleeps', 3)
assert plan.step('facts', 120)'''
    res = run_process(sys.executable, '-c', code, env=planned(tmp_path), timeout=300)
    assert res.returncode==0 and 'sleeps: stopped at its limit' in res.stdout and '  one' in res.stdout, res.stdout+res.stderr

def test_the_wheels_that_are_carried_are_the_pinned_ones():
    pins = dict(l.split(';')[0].strip().split('==') for l in (ROOT/'constraints.txt').read_text().splitlines() if '==' in l.split(';')[0] and not l.startswith('#'))
    carried = dict(l.split('==') for l in (PLAN/'wheels.txt').read_text().split())
    assert {k:pins.get(k) for k in carried}==carried
    assert {'fastai','fastcore'}<=carried.keys() and not {'torch','torchvision','timm'} & carried.keys()

def test_a_limit_counts_from_the_beginning_of_a_step(tmp_path):
    "Two sleep side by side; the first has used up its time when the second is stopped, and gets none more"
    code = f'''
import sys; sys.path.insert(0, {str(PLAN)!r})
import plan
plan.set_up()
sleep = [sys.executable, '-c', 'import time; time.sleep(600)']
plan.start('long', sleep)
plan.start('short', sleep)
plan.finish('short', 3)
process, since = plan.running['long']
class Watched:
    given, pid = [], process.pid
    def wait(self, seconds): self.given.append(seconds); return process.wait(seconds)
plan.running['long'] = Watched(), since
assert not plan.finish('long', 2)
assert Watched.given[0]==0, 'its limit was over'
'''
    res = run_process(sys.executable, '-c', code, env=planned(tmp_path), timeout=120)
    assert res.returncode==0, res.stdout+res.stderr

def test_a_call_that_is_ended_from_outside_ends_its_step_and_keeps_its_logs(tmp_path):
    code = f'''
import signal, sys; sys.path.insert(0, {str(PLAN)!r})
import plan
plan.set_up()
signal.signal(signal.SIGTERM, plan.end_all)
plan.start('sleeps', [sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'])
print('begun', flush=True)
plan.finish('sleeps', 600)
'''
    call = subprocess.Popen([sys.executable, '-c', code], env={**os.environ, **planned(tmp_path)}, stdout=subprocess.PIPE, text=True)
    assert call.stdout.readline()=='begun\n'
    log = tmp_path/'log'/'sleeps.log'
    while not log.read_text().endswith('\n'): time.sleep(.05)
    call.terminate()
    assert call.wait(60)==1 and (tmp_path/'out'/'logs.tgz').stat().st_size
    call.stdout.close()
    with pytest.raises(ProcessLookupError): os.kill(int(log.read_text()), 0)

@pytest.fixture
def pack(tmp_path):
    "What `make gpu-pack` makes of an archive, with a stand-in for pip"
    python = tmp_path/'python'
    python.write_text('#!/bin/sh\nwhile [ "$1" != -d ]; do shift; done\n'
        f'cd "$2" && {sys.executable} -c "import zipfile; zipfile.ZipFile(\'some.whl\', \'w\').writestr(\'some.py\', \'\')"\n')
    python.chmod(0o755)
    def make(size):
        archive = tmp_path/'images.tgz'
        archive.write_bytes(os.urandom(size))
        return archive, run_process('bash', PLAN/'pack.sh', tmp_path/'pack', archive, cwd=ROOT, env=dict(PYTHON=str(python)))
    return make

def test_what_is_packed_is_the_code_at_its_commit_and_the_images_in_two_parts(tmp_path, pack):
    "Call A lays by the first part; call B, which carries the second alone, joins them"
    archive,res = pack(6_000_000)
    assert res.returncode==0 and 'each call carries' in res.stdout, res.stdout+res.stderr
    made = tmp_path/'pack'
    sizes = {o.name:o.stat().st_size for o in made.rglob('*') if o.is_file()}
    first = sizes['images.tgz.part.0']+sizes['code.tgz']+sizes['some.whl']
    assert abs(first-sizes['images.tgz.part.1'])<2, 'both calls weigh the same'
    code = f'''
import sys; sys.path.insert(0, {str(PLAN)!r})
import plan
plan.set_up()
print(plan.images())
'''
    env = planned(tmp_path/'gpu', GPU_PACK=str(made))
    (made/'data2').rename(tmp_path/'later')
    a = run_process(sys.executable, '-c', code, env=env, timeout=60)
    assert a.returncode==0 and a.stdout=='None\n', a.stderr
    for o in ('whl','data1'): shutil.rmtree(made/o)
    (made/'code.tgz').unlink()
    (tmp_path/'later').rename(made/'data2')
    b = run_process(sys.executable, '-c', code, env=env, timeout=60)
    assert b.returncode==0 and Path(b.stdout.strip()).read_bytes()==archive.read_bytes(), b.stderr
    src = tmp_path/'gpu'/'src'
    head = run_process('git', 'rev-parse', '--short=12', 'HEAD', cwd=ROOT).stdout.strip()
    said = run_process(sys.executable, '-c', 'import simpleattn.runs as r; print(r.__file__, r.code_commit())', cwd=src, env=dict(PYTHONPATH=str(src)), timeout=120)
    assert said.stdout.split()==[str(src/'simpleattn'/'runs.py'), head], said.stderr
    assert (tmp_path/'gpu'/'site-packages'/'some.py').exists() and (src/'tests'/'test_gpu.py').exists() and not (src/'nbs').exists()

def test_parts_of_another_archive_are_not_joined(tmp_path):
    "A machine that still has those of an earlier question"
    code = f'''
import sys, pathlib; sys.path.insert(0, {str(PLAN)!r})
import plan
for name,text in (('a.tgz.part.0','A'), ('a.tgz.part.1','a'), ('b.tgz.part.0','B')):
    part = pathlib.Path({str(tmp_path)!r})/name
    part.write_text(text)
    (plan.WORK/'stash').mkdir(parents=True, exist_ok=True)
    plan.lay_by(part)
    print(plan.images() and plan.images().read_text())
'''
    res = run_process(sys.executable, '-c', code, env=planned(tmp_path/'gpu'), timeout=60)
    assert res.stdout.split()==['None','Aa','None'], res.stdout+res.stderr

def test_the_question_is_a_new_study_whose_images_are_packed():
    from simpleattn.folders import folder_name
    from simpleattn.recipes import load_recipes
    said = run_process(sys.executable, '-c', f'import sys, json; sys.path.insert(0, {str(PLAN)!r}); import plan; print(json.dumps(plan.QUESTION))')
    question = json.loads(said.stdout)
    recipe = load_recipes()[question['recipe']]
    assert not (ROOT/'runs'/'_studies'/f"{question['name']}.json").exists()
    assert f'/{folder_name(recipe.dataset, recipe.source)}.tgz}}' in (PLAN/'pack.sh').read_text()

@pytest.mark.slow
def test_a_call_that_would_be_too_heavy_is_an_error(pack):
    _,res = pack(130_000_000)
    assert res.returncode==1 and 'too heavy' in res.stderr
