"""Worker processes: the same numbers as in one process, and a study that outlives its workers and its driver"""
import json,os,signal,subprocess,sys,time
from pathlib import Path
import psutil,pytest
from fastcore.script import CliError
from torch import nn
from conftest import SIMPLEATTN,bits,run_process
from simpleattn.engines import LocalEngine,Task,_Worker,engines,make_engine
from simpleattn.models import check_networks
from simpleattn.recipes import derive,load_recipes
from simpleattn.runs import Machine,find_runs
from simpleattn.study import Study
from simpleattn.variants import Arm,Variant,get_variant,import_file

def workers():
    "Processes of runs: the children of this process's fork server"
    return [p for c in psutil.Process().children() for p in c.children() if p.status()!=psutil.STATUS_ZOMBIE]

def wait_for(what, seconds=300):
    "True as soon as `what()` is"
    end = time.time()+seconds
    while time.time()<end:
        if res := what(): return res
        time.sleep(.05)
    return what()

def failures(root): return sorted(Path(root).rglob('*.failed-*.json'))

# ---- the engine

def test_there_are_three_engines_and_another_name_is_an_error():
    assert set(engines)=={'serial','local','ray'}
    with pytest.raises(CliError, match="'slurm'.*serial, local, ray"): make_engine('slurm')

@pytest.mark.parametrize('n', [0,-1])
def test_an_engine_without_workers_is_an_error(n):
    with pytest.raises(CliError, match='workers'): make_engine('local', workers=n)

def test_an_engine_that_makes_one_run_at_a_time_has_no_use_for_workers():
    with pytest.raises(CliError, match='workers = 4.*one run at a time'): make_engine('serial', workers=4)
    assert make_engine('serial', workers=1).workers==make_engine('serial').workers==1

@pytest.mark.parametrize('threads,n', [(1,6), (2,3), (4,1), (8,1)])
def test_workers_and_their_threads_fill_the_cores(monkeypatch, threads, n):
    monkeypatch.setattr('simpleattn.engines.num_cpus', lambda: 6)
    for workers,want in ((None,n), (5,5)):
        eng = make_engine('local', workers=workers, threads=threads)
        eng.close()
        assert eng.workers==want

@pytest.fixture(scope='module')
def both(tmp_path_factory, recipe, tiny, layers):
    "The same study in workers and in this process"
    roots = {}
    for e in ('local','serial'):
        roots[e] = tmp_path_factory.mktemp(e)
        s = Study('s', ['baseline', 'simple', Variant('mine', f'{layers}:Mine')], 2, recipe=recipe, root=roots[e])
        s.run(e, 2 if e=='local' else None, tiny, 'cpu', progress=False)
        assert s.missing()==[]
    return roots

def test_workers_give_the_same_bits_as_one_process(both):
    local,serial = bits(both['local']), bits(both['serial'])
    assert local==serial and len(local)==6

def test_workers_use_one_thread_each_and_leave_no_process_and_no_file(both):
    assert {r.machine['threads'] for r in find_runs(both['local'])[0]}=={1}
    assert workers()==[] and not [p for p in both['local'].rglob('*') if p.suffix in ('.tmp','.log')]

def test_a_finished_study_starts_no_worker(both, recipe, tiny, layers):
    before = {p:p.stat().st_mtime_ns for p in both['local'].rglob('*.json')}
    Study('s', ['baseline', 'simple', Variant('mine', f'{layers}:Mine')], 2, recipe=recipe, root=both['local']).run('local', 2, tiny, 'cpu', progress=False)
    assert {p:p.stat().st_mtime_ns for p in both['local'].rglob('*.json')}==before

def test_a_run_that_is_there_is_not_made_again(both, recipe, tiny):
    eng = LocalEngine(1)
    try:
        eng.submit(Task(Arm(recipe, get_variant('baseline')), 0, Machine('cpu', data=str(tiny)), str(both['local'])))
        assert eng.next().how=='exists'
    finally: eng.close()

@pytest.mark.alone
def test_closing_ends_running_workers_within_5_s(recipe, tiny, tmp_path):
    eng = LocalEngine(2)
    for s in range(4): eng.submit(Task(Arm(derive(recipe, epochs=500), get_variant('baseline')), s, Machine('cpu', data=str(tiny)), str(tmp_path)))
    eng._fill()
    assert wait_for(lambda: len(workers())==2)
    time.sleep(1)
    t0 = time.time()
    eng.close()
    assert time.time()-t0<5 and workers()==[] and find_runs(tmp_path)[0]==[]

# ---- runs that fail

def test_a_killed_worker_costs_its_own_run_which_is_tried_again(tmp_path, recipe, tiny, layers):
    s = Study('s', ['baseline', Variant('dies', f'{layers}:DiesOnce', kwargs=dict(mark=str(tmp_path/'mark')))], 3, recipe=recipe, root=tmp_path/'runs')
    s.run('local', 2, tiny, 'cpu', progress=False)
    assert s.missing()==[] and len(find_runs(tmp_path/'runs')[0])==6
    f, = failures(tmp_path/'runs')
    error = json.loads(f.read_text())['error']
    assert f.parents[1].name=='dies' and f'code -{int(signal.SIGKILL)}' in error and 'last words' in error

def test_a_layer_that_always_raises_fails_three_times_and_the_others_finish(tmp_path, recipe, tiny, layers, capsys):
    s = Study('s', ['baseline', Variant('raises', f'{layers}:Raises')], 2, recipe=recipe, root=tmp_path)
    s.run('local', 2, tiny, 'cpu')
    assert s.missing()==[('raises',0),('raises',1)] and len(find_runs(tmp_path)[0])==2
    assert [f.name for f in failures(tmp_path)]==[f'{s}.failed-{k}.json' for s in (0,1) for k in (1,2,3)]
    assert all('this layer always raises' in json.loads(f.read_text())['error'] for f in failures(tmp_path))
    assert '2/4 runs, 2 failed, 0 left' in capsys.readouterr().err
    with pytest.raises(CliError, match='raises.*fewer than two'): s.compare()

def test_failed_tries_are_tried_again_by_the_next_command(tmp_path, recipe, tiny, layers):
    s = Study('s', ['baseline', Variant('wants', f'{layers}:Wants', kwargs=dict(file=str(tmp_path/'file')))], 2, recipe=recipe, root=tmp_path/'runs')
    s.run('local', 2, tiny, 'cpu', tries=1, progress=False)
    assert len(s.missing())==2
    (tmp_path/'file').touch()
    assert s.run('local', 2, tiny, 'cpu', progress=False).missing()==[] and len(failures(tmp_path/'runs'))==2

def test_when_all_fail_alike_the_study_stops_with_the_reason(tmp_path, recipe, tiny, layers):
    s = Study('s', [Variant(o, f'{layers}:Raises', site) for o,site in (('a','1.-1'),('b','2.-1'))], 10, recipe=recipe, root=tmp_path)
    with pytest.raises(CliError, match='all failed alike.*this layer always raises'): s.run('local', 2, tiny, 'cpu', progress=False)
    assert len(failures(tmp_path))<=6 and workers()==[]

@pytest.mark.parametrize('engine,n', [('local',2), ('serial',None)])
def test_a_users_mistake_in_a_worker_stops_the_study_with_one_sentence(tmp_path, recipe, tiny, engine, n):
    s = Study('s', ['baseline', Variant('far', 'simpleattn.attention:SimpleSelfAttention', '9.-1')], 2, recipe=recipe, root=tmp_path)
    with pytest.raises(CliError, match='no stage 9') as e: s.run(engine, n, tiny, 'cpu', progress=False)
    assert 'Traceback' not in str(e.value) and failures(tmp_path)==[] and workers()==[]
    with pytest.raises(CliError, match='nothing at'): Study('s2', ['baseline','simple'], 2, recipe=recipe, root=tmp_path).run(engine, n, tmp_path/'nowhere', 'cpu', progress=False)

# ---- stopping and going on, at the command line

def study_command(root, tiny, settings, layers, recipe='tiny-10', *more):
    return [SIMPLEATTN, 'study', recipe, '--variants', 'baseline,mine', '--runs', '3', '--name', 's', '--import', layers, '--settings', settings, '--data', tiny,
            '--root', root, '--workers', '2', '--device', 'cpu', *more]

def start(cmd, out): return subprocess.Popen([str(o) for o in cmd], stdout=open(out, 'w'), stderr=subprocess.STDOUT, start_new_session=True)
def session(pid): return [p for p in psutil.process_iter() if alive_in(p, pid)]
def alive_in(p, sid):
    try: return os.getsid(p.pid)==sid and p.status()!=psutil.STATUS_ZOMBIE
    except (psutil.Error, ProcessLookupError, PermissionError): return False

@pytest.fixture(scope='module')
def stopped(tmp_path_factory, tiny, settings, layers):
    "A study stopped by Ctrl-C after its first run, and then started again"
    tmp = tmp_path_factory.mktemp('stopped')
    root,cmd,got = tmp/'runs', study_command(tmp/'runs', tiny, settings, layers, 'tiny-10', '--fmt', 'json'), {}
    p = start(cmd, tmp/'out')
    try:
        assert wait_for(lambda: (root/'_studies'/'s.json').is_file() or p.poll() is not None)
        got['declared_before'] = not list(root.glob('tiny-10/**/*.json'))
        assert wait_for(lambda: list(root.glob('tiny-10/*/*/[0-9].json')) or p.poll() is not None)
        t0 = time.time()
        os.killpg(p.pid, signal.SIGINT)
        got['code'] = p.wait(timeout=120)
        got['seconds'] = time.time()-t0
        got['ended'] = wait_for(lambda: session(p.pid)==[], 5)
    finally:
        if p.poll() is None: os.killpg(p.pid, signal.SIGKILL)
    got['said'],got['kept'] = (tmp/'out').read_text(), {q:q.read_bytes() for q in root.glob('tiny-10/*/*/*.json')}
    got['again'],got['root'] = run_process(*cmd), root
    return got

def test_ctrl_c_stops_within_5_s_and_says_what_is_kept(stopped):
    n = len(stopped['kept'])
    assert stopped['seconds']<5 and stopped['code']==130 and 0<n<6
    assert f'Stopped. {n} of 6 runs are finished and kept. The same command resumes the study.' in stopped['said'] and 'Traceback' not in stopped['said']

def test_ctrl_c_leaves_no_process_and_no_half_record(stopped):
    assert stopped['ended']
    assert bits(stopped['root']) and not list(stopped['root'].rglob('*.tmp')) and not failures(stopped['root'])

def test_a_study_is_declared_before_its_first_run(stopped): assert stopped['declared_before']

def test_the_same_command_goes_on_and_keeps_what_was_finished(stopped):
    assert stopped['again'].returncode==0, stopped['again'].stderr
    assert len(bits(stopped['root']))==6 and all(q.read_bytes()==b for q,b in stopped['kept'].items())

def test_json_on_standard_output_is_the_comparison_and_nothing_else(stopped):
    d = json.loads(stopped['again'].stdout)
    assert d and 'mine' in stopped['again'].stdout

def test_imported_layers_train_in_workers(stopped): assert {r.variant['layer'].split(':')[1] for r in find_runs(stopped['root'])[0] if r.variant['name']=='mine'}=={'Mine'}

def test_a_stopped_study_ends_with_the_records_of_an_uninterrupted_one(stopped, tmp_path, tiny, settings, layers):
    import cloudpickle
    cls = import_file(layers).Mine
    cloudpickle.register_pickle_by_value(sys.modules[cls.__module__])
    s = Study('s', ['baseline', Variant('mine', cls)], 3, recipe=load_recipes(settings)['tiny-10'], root=tmp_path)
    s.run('local', 2, tiny, 'cpu', progress=False)
    assert bits(tmp_path)==bits(stopped['root'])

# ---- scripts

SCRIPT = '''
print('the script runs')
from torch import nn
from simpleattn.recipes import load_recipes
from simpleattn.study import Study
from simpleattn.variants import register_variant
FACTOR = 1.
class Mine(nn.Module):
    def __init__(self, ni): super().__init__(); self.gamma = nn.Parameter(FACTOR*nn.Conv2d(ni, ni, 1).weight.new_zeros(1))
    def forward(self, x): return x + self.gamma*x
register_variant('of-script', Mine)
s = Study('s', ['baseline','of-script'], 2, recipe=load_recipes('settings.ini')['tiny'], root='runs')
s.run(workers=2, data='data', device='cpu')
print('missing', s.missing())
'''

@pytest.mark.slow
@pytest.mark.parametrize('how', ['script','stdin','module'])
def test_a_script_without_a_guard_trains_its_own_class_and_runs_once(tmp_path, tiny, settings, how):
    (tmp_path/'script.py').write_text(SCRIPT)
    (tmp_path/'settings.ini').write_text(settings.read_text()); (tmp_path/'data').symlink_to(tiny)
    args = dict(script=['script.py'], stdin=['-'], module=['-m','script'])[how]
    res = run_process(sys.executable, '-W', 'ignore', *args, cwd=tmp_path, input=SCRIPT if how=='stdin' else None)
    assert res.returncode==0, res.stderr
    assert res.stdout.split('\n')[:2]==['the script runs','missing []'] and res.stdout.count('the script runs')==1 and 'the script runs' not in res.stderr
    assert {r.variant['layer'] for r in find_runs(tmp_path/'runs')[0]}=={None,'__main__:Mine'} and failures(tmp_path/'runs')==[]

# ---- the driver goes

@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_no_process_and_no_half_record(tmp_path, tiny, settings, layers):
    "With real trainings; SIGTERM and SIGINT end as one, and are met in tests/test_survive.py and above"
    p = start(study_command(tmp_path/'runs', tiny, settings, layers), tmp_path/'out')
    try:
        assert wait_for(lambda: list((tmp_path/'runs').glob('tiny-10/*/*/[0-9].json')) or p.poll() is not None)
        assert len(session(p.pid))>=3
        p.kill()
        p.wait(timeout=60)
        assert wait_for(lambda: session(p.pid)==[], 5), session(p.pid)
    finally:
        for o in session(p.pid): o.kill()
    assert bits(tmp_path/'runs') and not failures(tmp_path/'runs')
    res = run_process(*study_command(tmp_path/'runs', tiny, settings, layers))
    assert res.returncode==0 and len(bits(tmp_path/'runs'))==6, res.stderr

def test_a_training_that_stumbles_over_a_file_of_its_own_has_failed(tmp_path, recipe, tiny, monkeypatch):
    "FileExistsError says that the record is there only where it is"
    import simpleattn.train as train
    def stumbles(*args, **kwargs): raise FileExistsError('my own folder')
    monkeypatch.setattr(train, 'train_arm', stumbles)
    from simpleattn.engines import run_task
    o = run_task(Task(Arm(recipe, get_variant('baseline')), 0, Machine('cpu', data=str(tiny)), str(tmp_path)))
    assert o.how=='failed' and 'my own folder' in o.error

LINGERS = """
import threading,time
from torch import nn
LOCK = threading.Lock()
class Lingers(nn.Module):
    def __init__(self, ni): super().__init__(); threading.Thread(target=time.sleep, args=(50,)).start()
    def forward(self, x): return x
class Locked(nn.Module):
    def __init__(self, ni): super().__init__()
    def forward(self, x):
        with LOCK: return x
"""

def test_a_worker_that_does_not_end_by_itself_is_ended(tmp_path, recipe, tiny, monkeypatch):
    (tmp_path/'lingers.py').write_text(LINGERS.replace('LOCK = threading.Lock()', ''))
    monkeypatch.setattr('simpleattn.engines.LAST_SECONDS', .5)
    eng = LocalEngine(1)
    try:
        eng.submit(Task(Arm(recipe, Variant('lingers', f"{tmp_path/'lingers.py'}:Lingers")), 0, Machine('cpu', data=str(tiny)), str(tmp_path)))
        began = time.time()
        assert eng.next().how=='made' and time.time()-began<40 and workers()==[]
    finally: eng.close()

def test_ctrl_c_does_not_leave_such_a_worker(monkeypatch):
    from multiprocessing import Pipe
    process = subprocess.Popen(['sleep','60'])
    class Hangs:
        "Interrupted in its first wait"
        def join(self, seconds=None):
            if seconds: raise KeyboardInterrupt
            process.wait(10)
        def kill(self): process.kill()
    with pytest.raises(KeyboardInterrupt): _Worker(Pipe()[0], None, None, Hangs()).end()
    assert process.returncode==-signal.SIGKILL

def test_a_worker_that_is_killed_while_it_answers_is_lost():
    from multiprocessing import Pipe
    ours,theirs = Pipe()
    os.write(theirs.fileno(), (100).to_bytes(4, 'big')+b'a part')
    theirs.close()
    assert _Worker(ours, None, None).answer().how=='lost'

def test_a_layer_that_cannot_be_sent_to_a_worker_is_said_before_anything_is_declared(tmp_path, recipe, tiny):
    (tmp_path/'lingers.py').write_text(LINGERS)
    s = Study('s', ['baseline', Variant('locked', f"{tmp_path/'lingers.py'}:Locked")], 2, recipe=recipe, root=tmp_path)
    with pytest.raises(CliError, match='tiny/locked.*lock.*--engine serial'): s.run('local', 1, data=tiny, device='cpu', progress=False)
    assert not (tmp_path/'_studies').exists()
    s.run('serial', data=tiny, device='cpu', progress=False)
    assert s.missing()==[] and s.run('local', 1, data=tiny, device='cpu', progress=False)

class OneMore(nn.Module):
    "Gives a channel more than it takes"
    def __init__(self, ni): super().__init__(); self.conv = nn.Conv2d(ni, ni+1, 1)
    def forward(self, x): return self.conv(x)

class Dies(nn.Module):
    def __init__(self, ni): super().__init__(); os.kill(os.getpid(), signal.SIGKILL)

class Speaks(nn.Module):
    "Asks for numbers, which shapes alone do not have"
    def __init__(self, ni): super().__init__(); print('made')
    def forward(self, x): return x if x.sum().item()<0 else -x

def test_an_own_layer_that_can_never_run_is_refused_before_anything_is_declared(tmp_path, recipe, tiny):
    for layer in (OneMore, lambda ni: nn.Conv2d(ni+1, ni, 1)):
        s = Study('s', ['baseline', Variant('wrong', layer)], 2, recipe=recipe, root=tmp_path)
        with pytest.raises(CliError, match='wrong.*RuntimeError'): s.run('serial', data=tiny, device='cpu', progress=False)
        assert not (tmp_path/'_studies').exists()

class Waits(nn.Module):
    def __init__(self, ni): super().__init__(); time.sleep(600)

def test_a_layer_that_is_tried_may_hang(recipe, monkeypatch):
    monkeypatch.setattr('simpleattn.models._longest_try', .5)
    began,before = time.monotonic(),psutil.Process().children()
    check_networks([Arm(recipe, Variant('waits', Waits))])
    assert time.monotonic()-began<60 and psutil.Process().children()==before

def test_a_layer_that_is_tried_may_die_or_ask_for_numbers(recipe, capfd):
    check_networks([Arm(recipe, Variant(layer.__name__.lower(), layer)) for layer in (Dies, Speaks)])
    assert capfd.readouterr()==('', '')
