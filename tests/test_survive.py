"""A study outlives its workers and its driver, counts nothing twice, and shares its work with other drivers"""
import itertools,json,os,random,signal,subprocess,sys,time,types
from collections import Counter
from pathlib import Path
import psutil,pytest
from multiprocessing import forkserver
from conftest import ROOT,SIMPLEATTN
from simpleattn import engines
from simpleattn.engines import LocalEngine,Task
from simpleattn.recipes import CliError,Recipe
from simpleattn.runs import find_runs,this_env
from simpleattn.study import Study
from simpleattn.variants import Variant
from test_engines import failures,session,wait_for

LAYER = 'simpleattn.attention:SimpleSelfAttention'

DRIVER = '''
import sys
from simpleattn.engines import LocalEngine
from simpleattn.recipes import Recipe
from simpleattn.study import Study
from simpleattn.variants import Variant
LocalEngine.preload = ['stub_train']
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

def test_with_one_of_two_drivers_killed_at_most_one_run_is_made_twice(tmp_path, driver, stub):
    a,b = driver(), driver()
    assert wait_for(lambda: sum(stub().values())>30, 120)
    a.kill()
    assert b.wait(240)==0, b.said()
    assert len(find_runs(tmp_path/'runs')[0])==100 and 100<=sum(stub().values())<=101 and failures(tmp_path/'runs')==[]

# ---- runs that fail

def test_a_run_that_always_dies_is_tried_three_times_and_reported_and_the_others_finish(tmp_path, stub, monkeypatch):
    "Twelve runs, of which the worker of one is always killed"
    code = f'''
import sys
from simpleattn.engines import LocalEngine
from simpleattn import cli,study,variants
LocalEngine.preload = ['stub_train']
run = study.Study._task
def one(self, arm, seed, facts): # Only this seed of the arm has the layer that dies
    import dataclasses
    t = run(self, arm, seed, facts)
    return dataclasses.replace(t, variant=dataclasses.replace(t.variant, kwargs=dict(does='dies'))) if (arm,seed)==('simple',3) else t
study.Study._task = one
sys.exit(cli.main(['study','demo','--variants','baseline,simple','--runs','6','--name','s','--root',{str(tmp_path/'runs')!r},'--device','cpu','--workers','2']))
'''
    p = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=240)
    assert p.returncode==1, p.stderr
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
    "All outcomes, with one more try for what was lost"
    for t in tasks: eng.submit(t)
    res = []
    try:
        while len([o for o in res if o.status!='lost'])<len(tasks):
            o = eng.next()
            res.append(o)
            if o.status=='lost': eng.submit(o.task)
    finally: eng.close()
    return res

def tasks_of(tmp_path, variants, seeds):
    from simpleattn.variants import get_variant
    return [Task(Recipe('tiny'), get_variant(v), s, str(tmp_path/'runs'), device='cpu') for s in range(seeds) for v in variants]

def test_on_gpus_a_worker_stays_for_the_seeds_of_its_arm_and_devices_go_round(tmp_path, stub, monkeypatch):
    monkeypatch.setattr(LocalEngine, 'preload', ['stub_train'])
    res = drain(LocalEngine(2, gpus=['4','7']), tasks_of(tmp_path, ['baseline','simple','self'], 4))
    assert len(res)==12 and {o.status for o in res}=={'ok'}
    by = {}
    for v,s,pid,dev in stub.lines(): by.setdefault((pid,dev), []).append((v,int(s)))
    assert {len(set(v for v,_ in o)) for o in by.values()}=={1}, 'a worker keeps to its arm'
    assert len(by) in (3,4) and {d for _,d in by}=={'4','7'}, 'three arms: three workers, and a fourth where the last arm is shared'
    assert max(len(o) for o in by.values())==4

def test_a_worker_that_stays_is_replaced_after_a_crash_and_its_device_with_it(tmp_path, stub, monkeypatch):
    monkeypatch.setattr(LocalEngine, 'preload', ['stub_train'])
    dies = Variant('dies', LAYER, kwargs=dict(does='dies-once', mark=str(tmp_path/'mark')))
    res = drain(LocalEngine(1, gpus=['3']), tasks_of(tmp_path, [dies], 4))
    assert [o.status for o in res].count('lost')==1 and len(find_runs(tmp_path/'runs')[0])==4
    pids = [pid for _,_,pid,_ in stub.lines()]
    assert len(pids)==5 and len(set(pids))==2 and pids[0]!=pids[1] and len(set(pids[1:]))==1 and {d for *_,d in stub.lines()}=={'3'}

def test_a_worker_that_stays_is_replaced_after_a_run_that_failed(tmp_path, stub, monkeypatch):
    "An error of CUDA stays with its process"
    monkeypatch.setattr(LocalEngine, 'preload', ['stub_train'])
    eng = LocalEngine(1, gpus=['3'])
    for t in tasks_of(tmp_path, [Variant('bad', LAYER, kwargs=dict(does='raises'))], 3): eng.submit(t)
    try: assert [eng.next().status for _ in range(3)]==['failed']*3
    finally: eng.close()
    assert len({pid for _,_,pid,_ in stub.lines()})==3

@pytest.mark.parametrize('gpus,per_run,workers,slots', [(['0','1','2'],1,None,['0','1','2']), (['0','1'],.5,None,['0','1','0','1']), (['0','1','2','3','4'],2,None,['0,1','2,3']),
    (['0','1'],1,3,['0','1','0']), (None,1,2,[None,None])])
def test_devices_are_dealt_out(gpus, per_run, workers, slots):
    eng = LocalEngine(workers, gpus=gpus, per_run=per_run)
    assert [*eng.slots]==slots and eng.workers==len(slots) and eng.keep==(bool(gpus) and per_run<=1)
    eng.close()

# ---- how many runs at once on a GPU

class Conn:
    "The driver's end of a worker that trains nothing: `Played` says when it has finished"
    def __init__(self, eng): self.eng = eng
    def send_bytes(self, task): self.eng.begin(self, task)
    def recv(self): return self.out
    def close(self): self.closed = True

class Played(LocalEngine):
    """The engine with GPUs that are played: on one, `holds` workers fit into the memory, and up to `shares` runs at once go at full speed. A run takes as long as
    the name of its variant; a worker's first run longer by `first`; an arm in `big` takes all of a GPU's memory."""
    def __init__(self, monkeypatch, gpus, holds, shares, first=0., big=(), noise=.01, most=4, seed=0):
        monkeypatch.setattr(engines, 'packed', lambda task: task)
        monkeypatch.setattr(engines, '_fits', lambda gpu, n: n<holds)
        monkeypatch.setattr('multiprocessing.connection.wait', lambda conns: [self.until_one_is_done()])
        super().__init__(gpus=[str(i) for i in range(gpus)])
        self.choice.most = most
        self.card,self.rng,self.now,self.log,self.made,self.seen = (shares, first, big, noise),random.Random(seed),0.,[],[],[]
    def _start(self, slot):
        self.slots.remove(slot)
        w = types.SimpleNamespace(conn=Conn(self), log=Path('none'), slot=slot, task=None, process=types.SimpleNamespace(join=lambda *a: None, terminate=lambda: None, is_alive=lambda: False), done=0)
        self.running.append(w)
        return w
    def begin(self, conn, task):
        w = next(w for w in self.running if w.conn is conn)
        shares,first,big,noise = self.card
        on = [o for o in self.running+self.idle if o.slot==w.slot]
        w.left,w.t0 = len(task.variant.name)*self.rng.uniform(1-noise, 1+noise) + first*(not w.done),self.now
        w.oom = task.variant.name in big and len(on)>1
        self.log.append((task.variant.name, task.seed, w.slot))
    def until_one_is_done(self):
        def on(w): return sum(o.slot==w.slot for o in self.running)
        counts = [sum(w.slot==g for w in self.running) for g in self.groups]
        self.seen.append((self.choice.n, counts, [sum(w.slot==g for w in self.idle) for g in self.groups], len(self.tasks)))
        speed = {id(w):min(1., self.card[0]/on(w)) for w in self.running}
        w = min(self.running, key=lambda w: 0 if w.oom else w.left/speed[id(w)])
        t = 0 if w.oom else w.left/speed[id(w)]
        for o in self.running: o.left -= t*speed[id(o)]
        self.now += t
        w.conn.out = ('failed', None, 0., 'torch.OutOfMemoryError: CUDA out of memory.', None) if w.oom else ('ok', .5, self.now-w.t0, '', None)
        return w.conn
    def play(self, arms, seeds):
        tasks = [Task(Recipe('tiny'), Variant(a, LAYER, kwargs=dict(does=a)) if a!='baseline' else Variant(a), s, 'runs') for s in range(seeds) for a in arms]
        for t in tasks: self.submit(t)
        for _ in tasks:
            o = self.next()
            self.made.append((o.task.variant.name, o.task.seed, o.status))
        self.close()
        assert sorted(self.made)==sorted((t.variant.name, t.seed, 'ok') for t in tasks), 'each once'
        for (_,before,_,_),(n,running,idle,left) in zip(self.seen, self.seen[1:]):
            assert all(r<=max(n, b) for r,b in zip(running, before)), 'nothing starts beyond the number of its GPU'
            assert not left or min(running)>=n, 'and no GPU has fewer while there is work'
            assert max(i+r for i,r in zip(idle, running))<=n+1, 'what waits holds memory'
        return [k for k,g in itertools.groupby(n for n,*_ in self.seen)]

@pytest.mark.parametrize('holds,shares,levels', [(4,1,[1,2,1]), (4,2,[1,2,3,2]), (4,3,[1,2,3,4,3]), (9,9,[1,2,3,4]), (2,9,[1,2]), (3,1.02,[1,2,1]), (1,9,[1])])
@pytest.mark.parametrize('gpus', [1,2,4])
@pytest.mark.parametrize('first', [0.,30.], ids=['','slow starts'])
def test_as_many_runs_at_once_as_pay(monkeypatch, holds, shares, levels, gpus, first):
    eng = Played(monkeypatch, gpus, holds, shares, first)
    assert eng.play(['baseline','simple','symmetric'], 40*gpus*(3 if first else 1))==levels
    assert eng.choice.settled and (f'GPU: {levels[-1]};' in eng.said)==(holds>1) and ('up to' in eng.said)==(holds>1)
    assert {d for *_,d in eng.log}=={str(i) for i in range(gpus)}

@pytest.mark.parametrize('seed', range(5))
def test_arms_of_different_lengths_are_compared_with_themselves(monkeypatch, seed):
    "One arm takes seven times as long as another; by their seconds alone two at once would look seven times worse, or better"
    for arms in (['baseline-of-21-letters','sss'], ['sss','baseline-of-21-letters']):
        eng = Played(monkeypatch, 2, 4, 2, seed=seed, noise=.02)
        assert eng.play(arms, 80)==[1,2,3,2]

def test_a_study_of_few_seeds_ends_before_it_knows(monkeypatch):
    eng = Played(monkeypatch, 1, 4, 1)
    assert set(eng.play(['baseline','simple'], 2))<={1,2} and not eng.choice.settled and eng.said==''

def test_an_arm_that_does_not_fit_beside_others_gets_a_gpu_for_itself_and_loses_no_try(monkeypatch):
    for arms in (['baseline','simple','sasa'], ['sasa','baseline','simple']):
        eng = Played(monkeypatch, 2, 4, 9, big=['sasa'])
        assert eng.play(arms, 30)[-1]==1 and eng.choice.settled and 'memory' in eng.said

def test_runs_that_say_nothing_are_not_counted(monkeypatch):
    "Others began or ended beside them; they failed, diverged early, or were another's; or they were a worker's first"
    eng = Played(monkeypatch, 1, 4, 9)
    w = types.SimpleNamespace(slot='0', calm=True, beside=1, task=types.SimpleNamespace(arm='a'))
    for calm,status in ((True,'failed'),(True,'exists'),(True,'claimed'),(True,'diverged'),(False,'ok')):
        w.calm = calm
        assert not eng._choose(w, status, 1., 'RuntimeError') and eng.choice.seconds=={}
    w.calm = True; eng._choose(w, 'ok', 1., '')
    assert eng.choice.seconds=={1:{'a':[1.]}}
    eng.close()

@pytest.mark.parametrize('error,again', [('torch.OutOfMemoryError: CUDA out of memory.',True), ('RuntimeError: CUDA error: out of memory',True), ('CUBLAS_STATUS_ALLOC_FAILED',True), ('RuntimeError: shape',False)])
def test_a_full_memory_lowers_the_number_once_for_all_whom_it_met(monkeypatch, error, again):
    eng = Played(monkeypatch, 1, 4, 9); eng.choice.n = 3
    w = types.SimpleNamespace(slot='0', calm=True, beside=3, task=types.SimpleNamespace(arm='a'))
    assert [eng._choose(w, 'failed', 1., error) for _ in range(3)]==[again]*3 and eng.choice.n==3-again
    w.beside = 1
    assert not eng._choose(w, 'failed', 1., error), 'alone it has failed'
    eng.close()

@pytest.mark.parametrize('gpu,lines,n,fits', [('0',['0, GPU-a, 5000 MiB, 81559 MiB'],1,True), ('GPU-a',['0, GPU-b, 9 MiB, 99 MiB','3, GPU-a, 4000 MiB, 10240 MiB'],1,True),
    ('GPU-a',['3, GPU-a, 8000 MiB, 10240 MiB'],2,False), ('3',['3, GPU-a, 9000 MiB, 10240 MiB'],1,False), ('3',['3, GPU-a, [N/A], [N/A]'],1,False), ('0',['1, GPU-c, 1 MiB, 99 MiB'],1,False), ('0',[],1,False)])
def test_memory_says_whether_a_card_holds_one_more(tmp_path, monkeypatch, gpu, lines, n, fits):
    "As nvidia-smi says at this moment"
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    smi = tmp_path/'nvidia-smi'
    for said,want in (([],False), (lines,fits), (['broken'],False), (lines,fits)):
        smi.write_text('#!/bin/sh\n' + ''.join(f'echo "{o}"\n' for o in said)); smi.chmod(0o755)
        assert engines._fits(gpu, n)==want

@pytest.mark.parametrize('power,want', [(0,3),(2,1)], ids=['runs that do not slow each other','runs that do'])
def test_the_engine_finds_how_many_runs_at_once_pay_and_keeps_to_it(tmp_path, stub, monkeypatch, power, want):
    monkeypatch.setattr(LocalEngine, 'preload', ['stub_train'])
    monkeypatch.setattr(engines, '_fits', lambda gpu, n: n<3)
    monkeypatch.setenv('STUB_SECONDS', '.15')
    arms = [Variant(f'a{i}', LAYER, kwargs=dict(does='shares', power=power, folder=str(tmp_path))) for i in range(3)]
    eng = LocalEngine(gpus=['3'])
    eng.choice.most = 4 # also where there are two cores
    res = drain(eng, [Task(Recipe('tiny'), v, s, str(tmp_path/'runs'), device='cpu') for s in range(16) for v in arms])
    assert len(res)==48 and {o.status for o in res}=={'ok'} and len(find_runs(tmp_path/'runs')[0])==48
    assert eng.choice.settled and eng.choice.n==want==eng.workers and f'at once on a GPU: {want};' in eng.said
    assert {d for *_,d in stub.lines()}=={'3'}
    assert max(int(n) for n in (tmp_path/'beside').read_text().split())==max(want, 2), 'two were tried'
    if want==1: assert (tmp_path/'beside').read_text().split()[-6:]==['1']*6, 'and in the end there is one'

def test_a_number_that_was_asked_for_is_not_changed(tmp_path, stub, monkeypatch):
    monkeypatch.setattr(engines, '_fits', lambda gpu, n: 1/0)
    for kw in (dict(workers=2, gpus=['0']), dict(gpus=['0'], per_run=.5), dict(gpus=['0','1'], per_run=2), dict(gpus=None), dict(gpus=['0'], keep=False)):
        eng = LocalEngine(**kw); eng.close()
        assert eng.choice is None and eng.said==''

class Asked:
    "An engine that notes what it was asked for, and makes nothing"
    def __init__(self, gpus=None, **kw): Asked.gpus,self.workers = gpus,1
    def submit(self, task): Asked.device = task.device
    def next(self): return engines.Outcome(types.SimpleNamespace(recipe=Recipe('tiny'), variant=Variant('baseline'), seed=0), 'refused', error='enough')
    def close(self): pass

@pytest.mark.parametrize('engine,device,gpus,seen', [('local',None,['4','7'],None), ('local','cuda',['4','7'],'cuda'), ('local','cuda:0',['4'],'cuda'), ('local','cuda:1',['7'],'cuda'), ('serial','cuda:1',['4','7'],'cuda:1')])
def test_one_of_several_gpus_is_the_only_one_that_workers_see(tmp_path, monkeypatch, engine, device, gpus, seen):
    monkeypatch.setitem(engines.engines, engine, Asked)
    monkeypatch.setattr('simpleattn.study.gpus_here', lambda: ['4','7'])
    s = Study('s', ['baseline','simple'], 2, recipe=Recipe('tiny'), root=tmp_path, env='some-gpu')
    with pytest.raises(CliError, match='enough'): s.run(engine, device=device, progress=False)
    assert (Asked.gpus,Asked.device)==(gpus,seen)

def test_a_gpu_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr('simpleattn.study.gpus_here', lambda: ['4','7'])
    with pytest.raises(CliError, match="'cuda:2'.*0 to 1"): Study('s', ['baseline','simple'], 2, recipe=Recipe('tiny'), root=tmp_path, env='some-gpu').run(device='cuda:2', progress=False)

def test_more_gpus_for_a_run_than_there_are_is_one_sentence():
    with pytest.raises(CliError, match='gpus_per_run = 2: 1 GPU'): LocalEngine(gpus=['0'], per_run=2)

# ---- stopping

@pytest.mark.parametrize('sig', [signal.SIGINT,signal.SIGTERM], ids=lambda s:s.name)
def test_a_signal_ends_all_within_5_s_with_a_line_and_the_rerun_trains_only_what_is_missing(tmp_path, driver, stub, sig):
    p = driver(2, 20, seconds=.6)
    assert wait_for(lambda: len(finished(tmp_path))>=3, 120)
    t0 = time.time()
    os.kill(p.pid, sig)
    assert p.wait(60)==130 and time.time()-t0<5
    assert wait_for(lambda: session(p.pid)==[], 5-(time.time()-t0)), 'nothing is left'
    n = len(finished(tmp_path))
    assert f'Stopped. {n} of 40 runs are finished and kept; the same command goes on.' in p.said() and 'Traceback' not in p.said()
    before = Counter(stub())
    assert driver(2, 20, seconds=.01).wait(120)==0
    assert len(find_runs(tmp_path/'runs')[0])==40 and sum((stub()-before).values())==40-n and failures(tmp_path/'runs')==[]

def test_a_driver_killed_outright_leaves_no_worker_after_5_s_and_the_rerun_trains_only_what_is_missing(tmp_path, driver, stub):
    p = driver(2, 6, seconds=.6)
    assert wait_for(lambda: len(finished(tmp_path))>=3, 120)
    p.kill(); p.wait()
    assert wait_for(lambda: session(p.pid)==[], 5), session(p.pid)
    n,before = len(finished(tmp_path)), Counter(stub())
    assert driver(2, 6, seconds=.05).wait(120)==0
    assert len(find_runs(tmp_path/'runs')[0])==12 and sum((stub()-before).values())==12-n

@pytest.mark.parametrize('sig', [signal.SIGINT,signal.SIGTERM,signal.SIGKILL], ids=lambda s:s.name)
def test_a_stop_while_the_first_worker_is_still_being_prepared(tmp_path, sig):
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

def test_further_stops_change_nothing(tmp_path, driver):
    p = driver(2, 20, seconds=.3)
    assert wait_for(lambda: len(finished(tmp_path))>=2, 120)
    while 'Stopped.' not in p.said() and p.poll() is None: os.killpg(p.pid, signal.SIGINT); time.sleep(.01)
    assert p.wait(10)==130 and wait_for(lambda: session(p.pid)==[], 5) and p.said().count('Stopped.')==1 and 'Traceback' not in p.said()

def test_a_fork_server_that_is_killed_is_replaced(tmp_path, driver):
    p,killed = driver(2, 30, seconds=.05), set()
    while p.poll() is None and len(killed)<5:
        for o in psutil.Process(p.pid).children():
            try:
                if o.pid not in killed and 'forkserver' in ' '.join(o.cmdline()) and o.children(): o.kill(); killed.add(o.pid)
            except psutil.Error: pass
        time.sleep(.05)
    assert p.wait(120)==0 and len(killed)==5 and len(find_runs(tmp_path/'runs')[0])==60 and 'Traceback' not in p.said(), p.said()

# ---- real trainings

STARTS = '''
import os
from torch import nn
class Counted(nn.Module):
    "Notes each start of a training in a file"
    def __init__(self, ni, log, gain=0.):
        super().__init__()
        with open(log, 'a') as f: f.write(f'{os.getpid()}\\n')
        self.conv,self.gain = nn.Conv2d(ni, ni, 1), gain
    def forward(self, x): return x + self.gain*self.conv(x)
'''

def counted(tmp_path, name):
    (tmp_path/'counted.py').write_text(STARTS)
    return [Variant(f'{name}-{k}', f"{tmp_path/'counted.py'}:Counted", kwargs=dict(log=str(tmp_path/name), gain=g)) for k,g in (('a',0.),('b',.1))]

@pytest.mark.slow
def test_twelve_real_trainings_with_two_workers_killed_are_those_of_an_undisturbed_study(tmp_path, tiny, settings):
    import threading
    from simpleattn.recipes import load_recipes
    from test_engines import workers
    r = load_recipes(settings)['tiny-10']
    (tmp_path/'still').mkdir(); (tmp_path/'killed').mkdir()
    def study(name): return Study(name, counted(tmp_path/name, 'starts'), 6, recipe=r, root=tmp_path/name/'runs')
    killed,over = [],threading.Event()
    def kill():
        while len(killed)<2 and not over.is_set():
            if ps := [p for p in workers() if p.pid not in killed and str(p.pid) in ((tmp_path/'killed'/'starts').read_text() if (tmp_path/'killed'/'starts').exists() else '')]:
                time.sleep(.3)
                try: ps[0].kill()
                except psutil.NoSuchProcess: continue
                killed.append(ps[0].pid)
            time.sleep(.05)
    t = threading.Thread(target=kill)
    t.start()
    s = study('killed').run('local', 2, tiny, 'cpu', progress=False)
    over.set(); t.join()
    starts = (tmp_path/'killed'/'starts').read_text().split()
    assert len(killed)==2 and s.missing()==[] and s.gave_up=={}
    got,bad = find_runs(tmp_path/'killed'/'runs')
    assert len(got)==12 and bad=={} and len(starts)==12+len(failures(tmp_path/'killed'/'runs'))<=14
    study('still').run('local', 2, tiny, 'cpu', progress=False)
    want = {r.path:r for r in find_runs(tmp_path/'still'/'runs')[0]}
    assert all(r.weights and r.weights==want[r.path].weights and r.history==want[r.path].history for r in got)
    assert len({r.weights for r in got})==12
