"""A study outlives its workers and its driver, counts nothing twice, and shares its work with other drivers"""
import json,os,signal,subprocess,sys,time
from collections import Counter
from pathlib import Path
import psutil,pytest
from multiprocessing import forkserver
from conftest import ROOT,SIMPLEATTN
from simpleattn import engines
from simpleattn.engines import LocalEngine,Task
from simpleattn.recipes import CliError,Recipe
from simpleattn.runs import Machine,find_runs,this_env
from simpleattn.study import Study
from simpleattn.variants import Arm,Variant
from test_engines import failures,session,wait_for

LAYER = 'simpleattn.attention:SimpleSelfAttention'

DRIVER = '''
import sys
import stub_runs
from simpleattn.engines import LocalEngine
from simpleattn.recipes import Recipe
from simpleattn.study import Study
from simpleattn.variants import Variant
LocalEngine.preload = ['stub_train']
stub_runs.without_networks()
root,workers,seeds,does = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
arms = ['baseline', Variant('other', 'simpleattn.attention:SimpleSelfAttention', kwargs=dict(does=does))]
s = Study('s', arms, seeds, recipe=Recipe('tiny'), root=root)
try: s.run('local', workers, device='cpu')
except KeyboardInterrupt: sys.exit(130)
sys.exit(len(s.gave_up))
'''

@pytest.fixture
def stub(tmp_path, monkeypatch):
    "Worker processes make stub runs; the result counts the starts of each run"
    monkeypatch.setenv('STUB_LOG', str(tmp_path/'starts'))
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(ROOT), str(ROOT/'tests'), os.environ.get('PYTHONPATH','')]))
    def starts(): return Counter(tuple(l.split()[:2]) for l in (tmp_path/'starts').read_text().splitlines()) if (tmp_path/'starts').exists() else Counter()
    starts.lines = lambda: [l.split() for l in (tmp_path/'starts').read_text().splitlines()]
    forkserver._forkserver._stop() # an older server has another environment, and the real trainings
    monkeypatch.setattr('simpleattn.models.check_networks', lambda arms: None) # what a stub does stands in its arguments, and no network has them
    yield starts
    forkserver._forkserver._stop()

@pytest.fixture
def driver(tmp_path, stub):
    "Start a driver of the study of stub runs in a session of its own; all are gone in the end"
    (tmp_path/'driver.py').write_text(DRIVER)
    ps = []
    def f(workers=1, seeds=50, does='trains', seconds=.05):
        out = open(tmp_path/f'out{len(ps)}', 'w')
        p = subprocess.Popen([sys.executable, tmp_path/'driver.py', tmp_path/'runs', str(workers), str(seeds), does], stdout=out, stderr=out, start_new_session=True,
            env={**os.environ, 'STUB_SECONDS':str(seconds)})
        p.said = lambda n=len(ps): (tmp_path/f'out{n}').read_text()
        ps.append(p)
        return p
    yield f
    for p in ps:
        for o in session(p.pid): o.kill()
        p.wait()

def ended(tmp_path, *drivers):
    "What came of the runs of a study: records that are two of one run, and tracebacks among the lines"
    made = Counter((r.variant['name'], r.seed) for r in find_runs(tmp_path/'runs')[0])
    return dict(duplicated=sum(made.values())-len(made), tracebacks=sum(p.said().count('Traceback') for p in drivers))

def records(tmp_path): return list((tmp_path/'runs').glob('tiny/*/*/[0-9]*.json'))
def finished(tmp_path): return [p for p in records(tmp_path) if p.stem.isdigit()]

# ---- two drivers

def test_two_drivers_of_one_study_make_each_run_once(tmp_path, driver, stub):
    a,b = driver(), driver()
    assert (a.wait(240),b.wait(240))==(0,0), a.said()+b.said()
    assert len(find_runs(tmp_path/'runs')[0])==100 and find_runs(tmp_path/'runs')[1]=={}
    assert sum(stub().values())==100 and set(stub().values())=={1}
    assert len({p for _,_,p,_ in stub.lines()})>=100 and failures(tmp_path/'runs')==[] and 'Traceback' not in a.said()+b.said()
    assert {len([l for l in o.said().splitlines() if 'ok' in l])>20 for o in (a,b)}=={True}, 'both worked'

@pytest.mark.slow
def test_with_one_of_two_drivers_killed_at_most_one_run_is_made_twice(tmp_path, driver, stub, count):
    a,b = driver(), driver()
    assert wait_for(lambda: sum(stub().values())>30, 120)
    a.kill()
    assert b.wait(240)==0, b.said()
    assert len(find_runs(tmp_path/'runs')[0])==100 and 100<=sum(stub().values())<=101 and failures(tmp_path/'runs')==[]
    count(kills=1, lost=100-len(finished(tmp_path)), **ended(tmp_path, a, b))

def test_six_drivers_started_at_once_as_an_array_job_does_make_each_run_once(tmp_path, driver, stub, monkeypatch, count):
    "Each with the variables that a launcher sets"
    ps = []
    for k in range(6):
        for name,value in dict(RANK=k, LOCAL_RANK=k, WORLD_SIZE=6, SLURM_PROCID=k, SLURM_NTASKS=6, SLURM_ARRAY_TASK_ID=k, SLURM_JOB_ID=7, MASTER_ADDR='10.0.0.1', MASTER_PORT=1).items(): monkeypatch.setenv(name, str(value))
        ps.append(driver(1, 10))
    assert [p.wait(400) for p in ps]==[0]*6, ''.join(p.said() for p in ps)
    assert len(find_runs(tmp_path/'runs')[0])==20 and find_runs(tmp_path/'runs')[1]=={} and failures(tmp_path/'runs')==[]
    assert len(stub())==20 and set(stub().values())=={1}
    count(drivers_at_once=6, lost=20-len(stub()), **ended(tmp_path, *ps))

# ---- what lies in the folder

@pytest.mark.parametrize('preload', ['stub_train','simpleattn.preload'])
def test_nothing_that_lies_in_the_working_folder_is_executed(tmp_path, stub, preload):
    "The fork server and its resource tracker are started by `python -c`, which would look there first"
    there = tmp_path/'foreign'; there.mkdir()
    for name in ('cloudpickle','torch','fastai','numpy','signal','socket','multiprocessing','stub_train','simpleattn','sitecustomize'):
        (there/f'{name}.py').write_text(f"open({str(tmp_path)!r}+'/ran-{name}', 'w')\nraise SystemExit('ran')\n")
    (tmp_path/'driver.py').write_text(DRIVER.replace('stub_train', preload))
    p = subprocess.run([sys.executable, tmp_path/'driver.py', tmp_path/'runs', '1', '2', 'trains'], capture_output=True, text=True, timeout=240, cwd=there,
        env={**os.environ, 'STUB_SECONDS':'0', 'PYTHONPATH':os.pathsep.join([str(ROOT), str(ROOT/'tests')])})
    assert [o.name for o in tmp_path.glob('ran-*')]==[], p.stdout+p.stderr
    assert preload!='stub_train' or (p.returncode==0 and len(find_runs(tmp_path/'runs')[0])==4), p.stdout+p.stderr

# ---- a launcher's environment

def test_a_launchers_rank_changes_nothing_of_a_learner(tmp_path, monkeypatch):
    from simpleattn.train import get_learner
    monkeypatch.chdir(tmp_path)
    for k,v in dict(RANK='1', LOCAL_RANK='1', WORLD_SIZE='2', SLURM_PROCID='1', SLURM_NTASKS='2').items(): monkeypatch.setenv(k, v)
    learn = get_learner('demo', device='cpu')
    with learn.no_bar(), learn.no_logging(): assert len(learn.get_preds()[0])==400
    learn.save('mine')
    assert Path('models/mine.pth').exists()

def test_workers_that_cannot_be_started_are_one_sentence(monkeypatch):
    def ended(self, *args): raise EOFError
    monkeypatch.setattr(LocalEngine, '_forked', ended)
    eng = LocalEngine(1)
    try:
        with pytest.raises(CliError, match='No worker can be started here.*serial'): eng._start(None)
    finally: eng.running.clear(); eng.close()

# ---- runs that fail

def test_a_run_that_always_dies_is_tried_three_times_and_reported_and_the_others_finish(tmp_path, stub, monkeypatch):
    "Twelve runs, of which the worker of one is always killed"
    code = f'''
import sys
import stub_runs
from simpleattn.engines import LocalEngine
from simpleattn import cli,study,variants
LocalEngine.preload = ['stub_train']
stub_runs.without_networks()
run = study.Study._task
def one(self, arm, seed, machine): # Only this seed of the arm has the layer that dies
    from dataclasses import replace
    t = run(self, arm, seed, machine)
    dies = replace(t.arm, variant=replace(t.arm.variant, kwargs=dict(does='dies')))
    return replace(t, arm=dies) if (arm,seed)==('simple',3) else t
study.Study._task = one
sys.exit(cli.main(['study','demo','--variants','baseline,simple','--runs','6','--name','s','--root',{str(tmp_path/'runs')!r},'--device','cpu','--workers','2']))
'''
    p = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=240)
    assert p.returncode==1 and "Traceback" not in p.stderr, p.stderr
    assert len(find_runs(tmp_path/'runs')[0])==11 and stub()['simple','3']==3 and sum(stub().values())==14
    fs = failures(tmp_path/'runs')
    assert [f.name for f in fs]==['3.failed-1.json','3.failed-2.json','3.failed-3.json']
    for f in fs: assert 'last words' in json.loads(f.read_text())['error'] and 'code -9' in json.loads(f.read_text())['error'], 'with the end of its log'
    last = p.stderr.strip().splitlines()[-1]
    assert '1 of 12 runs failed three times' in last and '3.failed-3.json' in last and '11/12 runs, 1 failed, 0 left' in p.stderr and 'Traceback' not in p.stderr

def test_a_worker_killed_after_its_record_is_out_cost_nothing(tmp_path, stub, monkeypatch):
    "The record is there, so the try is no failure, and the run is not made again"
    monkeypatch.setattr(LocalEngine, 'preload', ['stub_train'])
    s = Study('s', ['baseline', Variant('late', LAYER, kwargs=dict(does='dies-late'))], 3, recipe=Recipe('tiny'), root=tmp_path/'runs', env=this_env('cpu'))
    s.run('local', 2, device='cpu', progress=False)
    assert s.missing()==[] and s.gave_up=={} and failures(tmp_path/'runs')==[] and set(stub().values())=={1} and len(stub())==6

# ---- workers that stay

def drain(eng, tasks):
    "How all ended, with one more try for what was lost"
    for t in tasks: eng.submit(t)
    res = []
    try:
        while len([o for o in res if o.how!='lost'])<len(tasks):
            o = eng.next()
            res.append(o)
            if o.how=='lost': eng.submit(o.task)
    finally: eng.close()
    return res

def tasks_of(tmp_path, variants, seeds, **recipe):
    from simpleattn.variants import get_variant
    return [Task(Arm(Recipe('tiny', **recipe), get_variant(v)), s, Machine('cpu'), str(tmp_path/'runs')) for s in range(seeds) for v in variants]

THREE = ['baseline','simple','self']

def whole_seeds(lines):
    "How far the arms were apart at any time, in seeds"
    done = dict.fromkeys(THREE, 0)
    for v,*_ in lines:
        done[v] += 1
        yield max(done.values())-min(done.values())

@pytest.mark.alone
@pytest.mark.parametrize('workers,gpus,apart', [(1,['3'],1), (2,['3'],2), (2,['4','7'],3), (3,['3'],3), (5,['3'],4)])
def test_arms_that_compile_have_a_worker_each_and_seeds_are_complete_across_arms(tmp_path, stub, monkeypatch, workers, gpus, apart):
    "A study that is cut by time has pairs; no arm is compiled a second time, unless there are more workers than arms. Of three arms on two devices one has its own"
    monkeypatch.setattr(LocalEngine, 'preload', ['stub_train'])
    res = drain(LocalEngine(workers, gpus=gpus, compiled=3), tasks_of(tmp_path, THREE, 4, compile=True))
    assert len(res)==12 and {o.how for o in res}=={'made'}
    by = {}
    for v,s,pid,dev in stub.lines(): by.setdefault((pid,dev), []).append((v,int(s)))
    assert {len(set(v for v,_ in o)) for o in by.values()}=={1}, 'a worker keeps to its arm'
    assert {d for _,d in by}=={*gpus} and (len(by)==3 if workers<=3 else 3<=len(by)<=5)
    assert max(whole_seeds(stub.lines()))<=apart

@pytest.mark.parametrize('workers', [1,2])
def test_arms_that_do_not_compile_share_the_workers_that_stay(tmp_path, stub, monkeypatch, workers):
    monkeypatch.setattr(LocalEngine, 'preload', ['stub_train'])
    res = drain(LocalEngine(workers, gpus=['3']), tasks_of(tmp_path, THREE, 4))
    assert len(res)==12 and {o.how for o in res}=={'made'}
    assert len({pid for _,_,pid,_ in stub.lines()})==workers and max(whole_seeds(stub.lines()))<=workers

def test_more_arms_than_may_wait_are_compiled_again(tmp_path, stub, monkeypatch):
    monkeypatch.setattr(LocalEngine, 'preload', ['stub_train'])
    monkeypatch.setattr('simpleattn.engines.MOST_WAITING', 2)
    res = drain(LocalEngine(1, gpus=['3'], compiled=3), tasks_of(tmp_path, THREE, 2, compile=True))
    assert len(res)==6 and {o.how for o in res}=={'made'} and len({pid for _,_,pid,_ in stub.lines()})>3

def test_a_worker_that_stays_is_replaced_after_a_crash_and_its_device_with_it(tmp_path, stub, monkeypatch):
    monkeypatch.setattr(LocalEngine, 'preload', ['stub_train'])
    dies = Variant('dies', LAYER, kwargs=dict(does='dies-once', mark=str(tmp_path/'mark')))
    res = drain(LocalEngine(1, gpus=['3']), tasks_of(tmp_path, [dies], 4))
    assert [o.how for o in res].count('lost')==1 and len(find_runs(tmp_path/'runs')[0])==4
    pids = [pid for _,_,pid,_ in stub.lines()]
    assert len(pids)==5 and len(set(pids))==2 and pids[0]!=pids[1] and len(set(pids[1:]))==1 and {d for *_,d in stub.lines()}=={'3'}

def test_a_worker_that_stays_is_replaced_after_a_run_that_failed(tmp_path, stub, monkeypatch):
    "An error of CUDA stays with its process"
    monkeypatch.setattr(LocalEngine, 'preload', ['stub_train'])
    eng = LocalEngine(1, gpus=['3'])
    for t in tasks_of(tmp_path, [Variant('bad', LAYER, kwargs=dict(does='raises'))], 3): eng.submit(t)
    try: assert [eng.next().how for _ in range(3)]==['failed']*3
    finally: eng.close()
    assert len({pid for _,_,pid,_ in stub.lines()})==3

@pytest.mark.parametrize('gpus,per_run,workers,slots', [(['0','1','2'],1,None,['0','1','2']), (['0','1'],.5,None,['0','1','0','1']), (['0','1'],.25,None,['0','1']*4),
    (['0','1'],1,3,['0','1','0']), (None,1,2,[None,None])])
def test_devices_are_dealt_out(gpus, per_run, workers, slots):
    eng = LocalEngine(workers, gpus=gpus, per_run=per_run)
    assert [*eng.free]==slots and eng.workers==len(slots) and eng.keep==bool(gpus)
    eng.close()

@pytest.mark.parametrize('compiled,gpus,workers', [(3,['0'],3), (2,['0','1','2'],3), (0,['0'],1), (3,None,None)])
def test_each_arm_that_compiles_has_a_worker_of_its_own_on_gpus(compiled, gpus, workers):
    eng = LocalEngine(gpus=gpus, compiled=compiled)
    assert eng.workers==(workers or LocalEngine().workers)
    eng.close()

# ---- which GPUs

class Asked:
    "An engine that notes what it was asked for, and makes nothing"
    def __init__(self, gpus=None, **kw): Asked.gpus,self.workers = gpus,1
    def submit(self, task): Asked.device = task.machine.device
    def next(self): return engines.Ended(None, 'refused', error='enough')
    def close(self): pass

@pytest.mark.parametrize('engine,device,gpus,seen', [('local',None,['4','7'],None), ('local','cuda',['4','7'],'cuda'), ('local','cuda:0',['4'],'cuda'), ('local','cuda:1',['7'],'cuda'), ('serial','cuda:1',['4','7'],'cuda:1')])
def test_one_of_several_gpus_is_the_only_one_that_workers_see(tmp_path, monkeypatch, engine, device, gpus, seen):
    monkeypatch.setitem(engines.engines, engine, Asked)
    monkeypatch.setattr('simpleattn.study.gpus_here', lambda: ['4','7'])
    s = Study('s', ['baseline','simple'], 2, recipe=Recipe('tiny'), root=tmp_path, env='some-gpu')
    with pytest.raises(CliError, match='enough'): s.run(engine, device=device, progress=False)
    assert (Asked.gpus,Asked.device)==(gpus,seen)

class OfItsOwn(Asked):
    "An engine that takes an address"
    def __init__(self, address=None, **kw): OfItsOwn.address = address; super().__init__(**kw)

def test_an_engine_that_is_added_in_one_place_takes_its_own_options(tmp_path, monkeypatch):
    monkeypatch.setitem(engines.engines, 'mine', OfItsOwn)
    def study(): return Study('s', ['baseline','simple'], 2, recipe=Recipe('tiny', dataset='shapes'), root=tmp_path)
    with pytest.raises(CliError, match='enough'): study().run('mine', address='there:1', progress=False)
    assert OfItsOwn.address=='there:1'
    for other in ('serial','local'):
        with pytest.raises(CliError, match=r'address = there:1: an address is an option of --engine ray or mine only'): study().run(other, address='there:1', progress=False)

def test_a_data_set_that_is_added_in_one_place_is_found_by_a_study(tmp_path, monkeypatch):
    from simpleattn import folders
    monkeypatch.delenv('SIMPLEATTN_DATA', raising=False)
    monkeypatch.setitem(engines.engines, 'mine', Asked)
    def study(): return Study('s', ['baseline','simple'], 2, recipe=Recipe('tiny', dataset='mnist'), root=tmp_path)
    with pytest.raises(CliError, match="No data set 'mnist'. Choose from: imagewoof, imagenette, cifar10, shapes."): study().run('mine', progress=False)
    monkeypatch.setitem(folders.known, 'mnist', ('MNIST','mnist_png'))
    with pytest.raises(CliError, match='enough'): study().run('mine', progress=False)
    assert folders.folder_name('mnist', 'full')=='mnist_png' and folders.contradiction(folders.get_path('shapes'), 'mnist')==''

def test_a_gpu_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr('simpleattn.study.gpus_here', lambda: ['4','7'])
    with pytest.raises(CliError, match="'cuda:2'.*0 to 1"): Study('s', ['baseline','simple'], 2, recipe=Recipe('tiny'), root=tmp_path, env='some-gpu').run(device='cuda:2', progress=False)

@pytest.mark.parametrize('n', [0,-1,1.5,2])
def test_a_run_takes_one_gpu_or_a_fraction_of_it(tmp_path, n):
    with pytest.raises(CliError, match='gpus_per_run'): Study('s', ['baseline','simple'], 2, recipe=Recipe('demo', dataset='shapes'), root=tmp_path).run(gpus_per_run=n)

# ---- stopping

@pytest.mark.alone
@pytest.mark.parametrize('sig', [signal.SIGINT,signal.SIGTERM,signal.SIGHUP], ids=lambda s:s.name)
def test_a_signal_ends_all_within_5_s_with_a_line_and_the_rerun_trains_only_what_is_missing(tmp_path, driver, stub, sig, count):
    p = driver(2, 20, seconds=.6)
    assert wait_for(lambda: len(finished(tmp_path))>=3, 120)
    t0 = time.time()
    os.kill(p.pid, sig)
    assert p.wait(60)==130 and time.time()-t0<5
    assert wait_for(lambda: session(p.pid)==[], 5-(time.time()-t0)), 'nothing is left'
    n = len(finished(tmp_path))
    assert f'Stopped. {n} of 40 runs are finished and kept. The same command resumes the study.' in p.said() and 'Traceback' not in p.said()
    before = Counter(stub())
    assert driver(2, 20, seconds=.01).wait(120)==0
    assert len(find_runs(tmp_path/'runs')[0])==40 and sum((stub()-before).values())==40-n and failures(tmp_path/'runs')==[]
    count(stops=1, lost=40-len(finished(tmp_path)), **ended(tmp_path, p))

def test_a_hang_up_reaches_driver_server_and_workers_at_once(tmp_path, driver, stub, count):
    "A terminal that is closed tells all of them"
    p = driver(2, 20, seconds=.6)
    assert wait_for(lambda: len(finished(tmp_path))>=3, 120)
    os.killpg(p.pid, signal.SIGHUP)
    assert p.wait(60)==130 and wait_for(lambda: session(p.pid)==[], 5), p.said()
    assert 'of 40 runs are finished and kept' in p.said() and 'Traceback' not in p.said() and failures(tmp_path/'runs')==[]
    count(stops=1, **ended(tmp_path, p))

def test_under_nohup_a_hang_up_changes_nothing(tmp_path, driver, stub):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN) # a child inherits it
    try: p = driver(2, 6, seconds=.3)
    finally: signal.signal(signal.SIGHUP, before)
    assert wait_for(lambda: len(finished(tmp_path))>=3, 120)
    os.killpg(p.pid, signal.SIGHUP)
    assert p.wait(120)==0 and len(find_runs(tmp_path/'runs')[0])==12 and set(stub().values())=={1}, p.said()

def test_a_terminal_that_is_gone_costs_the_lines_and_not_the_study(tmp_path, stub):
    "As after `simpleattn study & disown`: no signal comes, but nothing can be written"
    (tmp_path/'driver.py').write_text(DRIVER)
    ours,theirs = os.openpty()
    p = subprocess.Popen([sys.executable, tmp_path/'driver.py', tmp_path/'runs', '2', '6', 'trains'], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, 'STUB_SECONDS':'.3'})
    os.close(theirs)
    assert wait_for(lambda: len(finished(tmp_path))>=3, 120)
    os.close(ours)
    assert p.wait(120)==0 and len(find_runs(tmp_path/'runs')[0])==12 and set(stub().values())=={1}

@pytest.mark.slow
@pytest.mark.parametrize('streams', ['2>/dev/full','2>&1 | head -1'])
def test_nobody_who_listens_stops_no_training(tmp_path, stub, streams):
    (tmp_path/'driver.py').write_text('import sys\nimport stub_train\nfrom simpleattn import cli\nsys.exit(cli.main(sys.argv[1:]))\n')
    words = f'"{sys.executable}" driver.py study demo --runs 3 --engine serial --device cpu --root runs {streams}'
    subprocess.run(words, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert len(find_runs(tmp_path/'runs')[0])==6

@pytest.mark.parametrize('sig', [signal.SIGINT,signal.SIGTERM,signal.SIGHUP], ids=lambda o: o.name)
@pytest.mark.parametrize('more', [[],['--checkpoints','ck']], ids=['without checkpoints','with'])
def test_a_run_that_is_stopped_says_so(tmp_path, stub, sig, more, count):
    (tmp_path/'driver.py').write_text('import sys\nimport stub_train\nfrom simpleattn import cli\nsys.exit(cli.main(sys.argv[1:]))\n')
    words = ['train','demo','--device','cpu','--root','runs',*more]
    def hears(): signal.signal(signal.SIGINT, signal.SIG_DFL) # a suite in the background ignores it, and so would its children
    p = subprocess.Popen([sys.executable, 'driver.py', *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, 'STUB_SECONDS':'60'},
        preexec_fn=hears)
    assert wait_for(lambda: stub(), 120)
    p.send_signal(sig)
    said = p.communicate(timeout=60)[1]
    assert p.returncode==130 and said.startswith('Stopped.') and 'Traceback' not in said and ('last checkpoint' in said)==bool(more)
    count(stops=1, tracebacks=said.count('Traceback'))

@pytest.mark.alone
def test_a_driver_killed_outright_leaves_no_worker_after_5_s_and_the_rerun_trains_only_what_is_missing(tmp_path, driver, stub, count):
    p = driver(2, 6, seconds=.6)
    assert wait_for(lambda: len(finished(tmp_path))>=3, 120)
    p.kill(); p.wait()
    assert wait_for(lambda: session(p.pid)==[], 5), session(p.pid)
    n,before = len(finished(tmp_path)), Counter(stub())
    assert driver(2, 6, seconds=.05).wait(120)==0
    assert len(find_runs(tmp_path/'runs')[0])==12 and sum((stub()-before).values())==12-n
    count(kills=1, lost=12-len(finished(tmp_path)), **ended(tmp_path, p))

@pytest.mark.alone
@pytest.mark.parametrize('sig', [signal.SIGINT,signal.SIGTERM,signal.SIGKILL], ids=lambda s:s.name)
def test_a_stop_while_the_first_worker_is_still_being_prepared(tmp_path, sig, count):
    "A first import of torch and fastai may take a minute; here it takes for ever"
    (tmp_path/'torch.py').write_text(f"open({str(tmp_path/'importing')!r}, 'w')\nimport time\ntime.sleep(600)")
    cmd = [SIMPLEATTN, 'study', 'demo', '--runs', '2', '--root', tmp_path/'runs', '--device', 'cpu', '--workers', '2']
    with open(tmp_path/'out', 'w') as out:
        p = subprocess.Popen([str(o) for o in cmd], stdout=out, stderr=out, start_new_session=True, env={**os.environ, 'PYTHONPATH':f'{tmp_path}:{ROOT}'})
    try:
        assert wait_for((tmp_path/'importing').exists, 60)
        t0 = time.time()
        os.killpg(p.pid, sig) if sig==signal.SIGINT else os.kill(p.pid, sig)
        assert wait_for(lambda: session(p.pid)==[] and p.poll() is not None, 5-(time.time()-t0)), session(p.pid)
    finally:
        for o in session(p.pid): o.kill()
    said = (tmp_path/'out').read_text()
    assert sig==signal.SIGKILL or p.returncode==130 and 'Stopped. 0 of 4 runs' in said and 'Traceback' not in said, said
    count(**{'kills' if sig==signal.SIGKILL else 'stops': 1}, tracebacks=said.count('Traceback'))

@pytest.mark.parametrize('preload', ['stub_train','simpleattn.preload'])
def test_a_stop_between_asking_for_a_worker_and_saying_what_it_needs(tmp_path, stub, preload):
    "The fork server has accepted, and hears nothing more"
    cut = """
from multiprocessing import forkserver,reduction
def stopped(*args): raise KeyboardInterrupt
reduction.sendfds = stopped
"""
    (tmp_path/'driver.py').write_text(cut + DRIVER.replace('stub_train', preload).replace('sys.exit(130)', "forkserver.os.waitpid(forkserver._forkserver._forkserver_pid, 0); sys.exit(130)"))
    p = subprocess.run([sys.executable, tmp_path/'driver.py', tmp_path/'runs', '1', '2', 'trains'], capture_output=True, text=True, timeout=120)
    assert p.returncode==130 and 'Stopped. 0 of 4 runs' in p.stdout+p.stderr and 'Traceback' not in p.stdout+p.stderr, p.stdout+p.stderr

@pytest.mark.alone
def test_further_stops_change_nothing(tmp_path, driver, count):
    p = driver(2, 20, seconds=.3)
    assert wait_for(lambda: len(finished(tmp_path))>=2, 120)
    sent = 0
    while 'Stopped.' not in p.said() and p.poll() is None:
        os.killpg(p.pid, signal.SIGINT)
        sent += 1
        time.sleep(.01)
    assert p.wait(10)==130 and wait_for(lambda: session(p.pid)==[], 5) and p.said().count('Stopped.')==1 and 'Traceback' not in p.said()
    count(stops=sent, **ended(tmp_path, p))

def test_a_fork_server_that_is_killed_is_replaced(tmp_path, driver, count):
    p,killed = driver(2, 30, seconds=.05), set()
    while p.poll() is None and len(killed)<5:
        for o in psutil.Process(p.pid).children():
            try:
                if o.pid not in killed and 'forkserver' in ' '.join(o.cmdline()) and o.children(): o.kill(); killed.add(o.pid)
            except psutil.Error: pass
        time.sleep(.05)
    assert p.wait(120)==0 and len(killed)==5 and len(find_runs(tmp_path/'runs')[0])==60 and 'Traceback' not in p.said(), p.said()
    count(kills=len(killed), lost=60-len(finished(tmp_path)), **ended(tmp_path, p))

# ---- real trainings

STARTS = '''
import os,time
from torch import nn
class Counted(nn.Module):
    "Notes each start of a training in a file, and waits there for as long as the test holds it"
    def __init__(self, ni, log, gain=0.):
        super().__init__()
        self.note(log)
        if os.path.exists(f'{log}-hold'): self.note(f'{log}-held')
        while os.path.exists(f'{log}-hold'): time.sleep(.05)
        self.conv,self.gain = nn.Conv2d(ni, ni, 1), gain
    def note(self, log):
        with open(log, 'a') as f: f.write(f'{os.getpid()}\\n')
    def forward(self, x): return x + self.gain*self.conv(x)
'''

class Held:
    "Trainings of `Counted` that start within are held: whoever kills one of their processes surely ends a run"
    def __init__(self, log): self.gate,self.log = Path(f'{log}-hold'),Path(f'{log}-held')
    def __enter__(self):
        self.gate.touch()
        return self
    def __exit__(self, *_): self.gate.unlink()
    def pids(self): return [int(o) for o in self.log.read_text().split()] if self.log.exists() else []

def counted(tmp_path, name):
    (tmp_path/'counted.py').write_text(STARTS)
    return [Variant(f'{name}-{k}', f"{tmp_path/'counted.py'}:Counted", kwargs=dict(log=str(tmp_path/name), gain=g)) for k,g in (('a',0.),('b',.1))]

@pytest.mark.slow
def test_twelve_real_trainings_with_two_workers_killed_are_those_of_an_undisturbed_study(tmp_path, tiny, settings, count):
    import threading
    from simpleattn.recipes import load_recipes
    r = load_recipes(settings)['tiny-10']
    (tmp_path/'still').mkdir(); (tmp_path/'killed').mkdir()
    def study(name): return Study(name, counted(tmp_path/name, 'starts'), 6, recipe=r, root=tmp_path/name/'runs')
    killed,over = [],threading.Event()
    def kill():
        with Held(tmp_path/'killed'/'starts') as held:
            while len(killed)<2 and not over.is_set():
                for pid in set(held.pids())-set(killed):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                time.sleep(.05)
    t = threading.Thread(target=kill)
    t.start()
    s = study('killed').run('local', 2, tiny, 'cpu', progress=False)
    over.set(); t.join()
    starts = (tmp_path/'killed'/'starts').read_text().split()
    assert len(killed)==2 and s.missing()==[] and s.gave_up=={}
    got,bad = find_runs(tmp_path/'killed'/'runs')
    assert len(got)==12 and bad=={} and len(starts)==12+len(failures(tmp_path/'killed'/'runs'))<=14
    count(kills=len(killed), lost=12-len(got), duplicated=len(got)-len({r.path for r in got}))
    study('still').run('local', 2, tiny, 'cpu', progress=False)
    want = {r.path:r for r in find_runs(tmp_path/'still'/'runs')[0]}
    assert all(r.weights and r.weights==want[r.path].weights and r.history==want[r.path].history for r in got)
    assert len({r.weights for r in got})==12
