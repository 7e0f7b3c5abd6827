"""Runs on a Ray cluster: the same records, nodes and workers that go, nothing off loopback, and the user's own layers"""
import json,os,subprocess,sys,threading,time
from pathlib import Path
import psutil,pytest
from fastcore.script import CliError
from conftest import SIMPLEATTN,cli
from simpleattn.engines import RayEngine,_alone,make_engine
from simpleattn.recipes import derive,load_recipes
from simpleattn.runs import find_runs,this_env
from simpleattn.study import Study
from simpleattn.variants import Variant
from test_engines import failures,session,wait_for
from test_survive import STARTS,Held

_alone() # before Ray is imported
ray = pytest.importorskip('ray')

def listening(procs):
    "Addresses on which processes listen"
    res = set()
    for p in procs:
        try: res |= {(c.laddr.ip.removeprefix('::ffff:'),p.name()) for c in p.net_connections('inet') if c.status=='LISTEN'}
        except psutil.Error: continue
    return res

def of_ray(): return [p for p in psutil.process_iter() if is_ray(p)]
def is_ray(p):
    try: return p.name().startswith('ray::') or '/ray/' in ' '.join(p.cmdline())
    except psutil.Error: return False

def facts(root): return {r.path:(r.weights,r.history,r.acc,r.correct,r.variant,r.recipe_hash,r.data) for r in find_runs(root)[0]}

NOTEBOOK = STARTS.replace('class Counted', 'class Cell').replace('self.gain*', '2*self.gain*')

@pytest.fixture(scope='module')
def cluster():
    "Three nodes of one core each, on this machine"
    from ray.cluster_utils import Cluster
    c = Cluster(initialize_head=True, head_node_args=dict(num_cpus=1, node_ip_address='127.0.0.1', include_dashboard=False))
    c.nodes_added = [c.add_node(num_cpus=1, node_ip_address='127.0.0.1') for _ in range(2)]
    ray.init(address=c.address, log_to_driver=False, _node_ip_address='127.0.0.1')
    yield c
    ray.shutdown()
    c.shutdown()

def arms(tmp_path, name):
    "One layer from a file, one from a notebook's cell"
    (tmp_path/'counted.py').write_text(STARTS)
    main = sys.modules['__main__'].__dict__
    exec(NOTEBOOK, main)
    kw = dict(log=str(tmp_path/f'{name}-starts'), gain=.1)
    return [Variant('of-file', f"{tmp_path/'counted.py'}:Counted", kwargs=kw), Variant('of-notebook', main['Cell'], kwargs=kw)]

@pytest.mark.slow
def test_three_nodes_one_removed_and_one_worker_killed_make_all_twelve_runs(cluster, tmp_path, tiny, settings):
    r = derive(load_recipes(settings)['tiny-10'], epochs=10)
    log,seen = tmp_path/'ray-starts',set()
    def held_by(held, node):
        "Held trainings of a node: its workers are its raylet's children"
        raylet = node.all_processes['raylet'][0].process.pid
        return [p for p in psutil.Process(raylet).children() if p.pid in held.pids()]
    def disturb():
        wait_for(lambda: len(find_runs(tmp_path/'runs')[0])>=2)
        seen.update(listening(of_ray()))
        going,staying = cluster.nodes_added
        with Held(log) as held:
            wait_for(lambda: held_by(held, staying), 60)[0].kill()
            assert wait_for(lambda: held_by(held, going), 60)
            cluster.remove_node(going, allow_graceful=False)
        seen.update(listening(of_ray()))
    t = threading.Thread(target=disturb)
    t.start()
    s = Study('s', arms(tmp_path, 'ray'), 6, recipe=r, root=tmp_path/'runs', env=this_env('cpu'))
    try: s.run('ray', data=tiny, device='cpu')
    finally: t.join()
    starts = log.read_text().split()
    assert s.missing()==[] and s.gave_up=={} and len(find_runs(tmp_path/'runs')[0])==12 and find_runs(tmp_path/'runs')[1]=={}
    assert len(starts)==14 and len(failures(tmp_path/'runs'))==2
    assert seen and {ip for ip,_ in seen}<={'127.0.0.1','::1'}, seen
    assert {x.variant['layer'].split(':')[1] for x in find_runs(tmp_path/'runs')[0]}=={'Counted','Cell'}
    want = Study('s', arms(tmp_path, 'ray'), 6, recipe=r, root=tmp_path/'serial', env=this_env('cpu'))
    want.run('serial', data=tiny, device='cpu', progress=False)
    assert facts(tmp_path/'serial')==facts(tmp_path/'runs')

@pytest.mark.slow
def test_a_worker_that_always_dies_and_one_that_raises_are_outcomes(cluster, tmp_path, recipe, tiny, layers):
    s = Study('s', ['baseline', Variant('raises', f'{layers}:Raises')], 2, recipe=recipe, root=tmp_path, env=this_env('cpu'))
    s.run('ray', data=tiny, device='cpu', progress=False)
    assert s.missing()==[('raises',0),('raises',1)] and len(s.gave_up)==2 and len(failures(tmp_path))==6
    assert 'this layer always raises' in json.loads(failures(tmp_path)[0].read_text())['error']

@pytest.mark.slow
def test_thousands_of_tasks_are_submitted_a_window_at_a_time(cluster):
    "At most a few tasks are at the cluster, whatever waits"
    eng = RayEngine()
    try:
        assert eng.mine is False and eng.workers<=3
        def made(x):
            from simpleattn.engines import Ended
            return Ended(None)
        eng.remote,n = ray.remote(made).options(num_cpus=1), 0
        import simpleattn.engines as e
        packed,e.packed = e.packed,lambda t: t
        try:
            for k in range(1000): eng.submit(k) # any task
            while n<1000: assert eng.next().how=='made' and len(eng.running)<=4; n += 1
        finally: e.packed = packed
    finally: eng.close()
    assert ray.is_initialized(), 'a cluster that was there stays'

@pytest.mark.slow
def test_a_ray_of_our_own_listens_on_loopback_has_no_dashboard_and_is_gone_in_the_end(tmp_path, tiny, settings, layers):
    "At the command line, with the user's file of layers; then the same study has nothing left to do"
    cmd = [SIMPLEATTN, 'study', 'tiny', '--variants', 'baseline,mine', '--runs', '2', '--name', 's', '--import', layers, '--settings', settings, '--data', tiny, '--root', tmp_path/'runs',
        '--device', 'cpu', '--engine', 'ray', '--workers', '1', '--fmt', 'json']
    p = subprocess.Popen([str(o) for o in cmd], stdout=open(tmp_path/'out', 'w'), stderr=open(tmp_path/'err', 'w'), start_new_session=True)
    seen,names,told = set(),set(),set()
    try:
        while p.poll() is None:
            procs = [psutil.Process(p.pid), *psutil.Process(p.pid).children(recursive=True)] if psutil.pid_exists(p.pid) else []
            seen |= listening(procs)
            for o in procs:
                try:
                    names.add(' '.join(o.cmdline()))
                    if 'raylet' in o.name(): told.add(o.environ().get('RAY_USAGE_STATS_ENABLED'))
                except psutil.Error: pass
            time.sleep(.5)
    except psutil.NoSuchProcess: p.wait(60)
    assert p.returncode==0, (tmp_path/'err').read_text()
    assert seen and {ip for ip,_ in seen}<={'127.0.0.1','::1'}, seen
    assert any('raylet' in o for o in names) and all('--disable-frontend' in o for o in names if 'dashboard/dashboard.py' in o), 'Ray keeps that process, without its pages'
    assert told=={'0'}, 'no usage statistics'
    assert len(find_runs(tmp_path/'runs')[0])==4 and json.loads((tmp_path/'out').read_text())
    assert wait_for(lambda: session(p.pid)==[], 20), session(p.pid)

def test_ray_is_asked_for_whole_and_fractional_gpus():
    class Fake:
        cluster = dict(CPU=64., GPU=8.)
        def is_initialized(self): return True
        def remote(self, **kw): self.asked = kw; return lambda f: f
        def cluster_resources(self): return self.cluster
    import sys as _sys
    mp,fake = pytest.MonkeyPatch(),Fake()
    mp.setitem(_sys.modules, 'ray', fake)
    try:
        for n,want in ((1,8),(.25,32)):
            eng = make_engine('ray', gpus=[], per_run=n)
            assert fake.asked['num_gpus']==n and fake.asked['num_cpus']==1 and fake.asked['max_retries']==0 and eng.workers==want
        assert 'num_gpus' not in (make_engine('ray', gpus=None), fake.asked)[1]
    finally: mp.undo()

def test_a_cluster_that_does_not_answer_is_one_sentence():
    class Fake:
        def is_initialized(self): return False
        def init(self, **kw): raise ConnectionError('Could not find any running Ray instance.\nMore.')
        def shutdown(self): self.gone = True
    mp,fake = pytest.MonkeyPatch(),Fake()
    mp.setitem(sys.modules, 'ray', fake)
    try:
        with pytest.raises(CliError, match='Ray at auto did not answer: Could not find any running Ray instance.$'): make_engine('ray', address='auto')
        assert fake.gone
    finally: mp.undo()

def test_without_ray_the_message_says_what_to_install():
    mp = pytest.MonkeyPatch()
    mp.setitem(sys.modules, 'ray', None)
    try:
        with pytest.raises(CliError, match=r"pip install 'simpleattn\[ray\]'"): make_engine('ray')
    finally: mp.undo()
