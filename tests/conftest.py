"""Fixtures of the suite: a cache of its own, tiny data sets, a part of the real Imagewoof; and at the end, what was left out"""
import os
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('MPLBACKEND', 'agg')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '') # what is promised to the bit is promised on a CPU; tests/test_gpu.py says how to run on a GPU
import fcntl,shutil,subprocess,sys,tarfile,tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent/'shared'
ARCHIVE = SHARED/'data'/'imagewoof2-160.tgz'
SIMPLEATTN = Path(sys.executable).parent/'simpleattn'

# ---- processes

def run_process(*args, timeout=900, env=None, **kwargs):
    "A finished process with its output as text"
    return subprocess.run([str(o) for o in args], capture_output=True, text=True, timeout=timeout, env={**os.environ, **(env or {})}, **kwargs)

def python(code, *args, **kwargs): return run_process(sys.executable, '-c', code, *args, **kwargs)
def cli(*args, **kwargs): return run_process(SIMPLEATTN, *args, **kwargs)

# ---- folders of tests lie in memory where there is room, because a disk takes longer over so many small files. `--basetemp` has them elsewhere

MEMORY, ROOM = Path('/dev/shm'), 8e9 # bytes

def pytest_configure(config):
    config.in_memory = None
    if hasattr(config, 'workerinput') or config.option.basetemp: return
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        config.in_memory = os.environ['PYTEST_DEBUG_TEMPROOT'] = tempfile.mkdtemp(prefix='simpleattn-tests-', dir=MEMORY)

# ---- what is left out, and why

_left_out = Counter()
def pytest_deselected(items): _left_out.update('slow' if o.get_closest_marker('slow') else 'not asked for' for o in items)

def pytest_sessionfinish(session):
    "A process that shares the tests with others tells the first one, which prints"
    if hasattr(session.config, 'workeroutput'): session.config.workeroutput['left_out'] = dict(_left_out)

@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    for why,n in getattr(node, 'workeroutput', {}).get('left_out', {}).items(): _left_out[why] = n # all left out the same

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for o in items:
        if {'archive','woof','woof_listing'} & set(o.fixturenames): o.add_marker('data')
        if 'stopped' in o.fixturenames: o.add_marker('alone')

def pytest_terminal_summary(terminalreporter):
    counted = Counter()
    for reports in terminalreporter.stats.values():
        for o in reports:
            if getattr(o, 'when', '')!='call': continue
            for what,n in o.user_properties: counted[what] += n
    if counted: terminalreporter.write_line('counted: ' + ', '.join(f'{n:,} {what}' for what,n in sorted(counted.items())))
    for why,n in _left_out.items():
        terminalreporter.write_line(f"left out: {n} slow tests; `make test-slow` runs them" if why=='slow' else f'left out: {n} tests, {why}')

@pytest.fixture
def count(record_property):
    "Note what a test did and what it found, as `count(kills=5, lost=0)`; the sums over all tests stand at the end"
    def f(**counts):
        for what,n in counts.items(): record_property(what.replace('_', ' '), n)
    return f

# ---- two processes share the tests; beside one that is marked `alone` the other stands still

_turns = Path(tempfile.gettempdir())/f'simpleattn-turns-{os.getpid()}'

@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node): node.workerinput['turns'] = str(_turns)

def pytest_unconfigure(config):
    "The first process tidies up"
    if hasattr(config, 'workerinput'): return
    _turns.unlink(missing_ok=True)
    if config.in_memory: shutil.rmtree(config.in_memory, ignore_errors=True)

@contextmanager
def _turn(file, alone):
    "Stay in the room with others, or alone; whoever waits to be alone stands at the gate, so that nobody passes him"
    with open(file, 'a+') as f:
        gate,room = 0,1 # a byte each
        fcntl.lockf(f, fcntl.LOCK_EX, 1, gate)
        fcntl.lockf(f, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, 1, room)
        fcntl.lockf(f, fcntl.LOCK_UN, 1, gate)
        yield

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    if not hasattr(item.config, 'workerinput'): return (yield)
    with _turn(item.config.workerinput['turns'], bool(item.get_closest_marker('alone'))): return (yield)

# ---- data

@pytest.fixture(scope='session', autouse=True)
def cache(tmp_path_factory):
    "A cache of the suite's own: an old one cannot hide a fault, and none is left behind"
    mp,p = pytest.MonkeyPatch(),tmp_path_factory.mktemp('cache')
    mp.setenv('XDG_CACHE_HOME', str(p))
    mp.setenv('XDG_STATE_HOME', str(tmp_path_factory.mktemp('state')))
    mp.delenv('SIMPLEATTN_DATA', raising=False)
    yield p/'simpleattn'
    mp.undo()

@pytest.fixture(autouse=True)
def _names_of_variants():
    "A name that a test gives to a layer of its own is free again for the next test, and so is a file that it imported"
    from simpleattn import variants
    before,modules = dict(variants._registry),set(sys.modules)
    yield
    variants._registry.clear()
    variants._registry.update(before)
    for name in set(sys.modules)-modules:
        if name.startswith('simpleattn_user_'): del sys.modules[name]

@pytest.fixture(scope='session')
def tiny(tmp_path_factory):
    "48 train and 24 validation images of 40 px in six classes"
    from simpleattn.shapes import make_shapes
    return make_shapes(tmp_path_factory.mktemp('tiny')/'tiny', 48, 24)

@pytest.fixture(scope='session')
def recipe():
    "Six steps of a small network on `tiny`"
    from simpleattn.recipes import Recipe
    return Recipe('tiny', dataset='tiny', source='full', size=32, val_extra=8, crop_min=.7, epochs=1, bs=8, backbone='xresnet18', widen=.125, stem=(8,8,64))

@pytest.fixture(scope='session')
def embedded(cache):
    "The embedded image set"
    from simpleattn.data import get_path
    return get_path('shapes', 'full')

@pytest.fixture(scope='session')
def archive():
    if not ARCHIVE.is_file(): pytest.skip(f'the real Imagewoof is not at {ARCHIVE}')
    return ARCHIVE

@pytest.fixture(scope='session')
def _woofs(archive, tmp_path_factory):
    "One pass over the archive: 20 train and 10 val images of each class, and every name and size as an empty file"
    part,listing = (tmp_path_factory.mktemp(o)/'imagewoof2-160' for o in ('part','listing'))
    left,seen = {('train',True):3,('train',False):17,('val',True):3,('val',False):7}, Counter()
    with tarfile.open(archive, 'r|gz') as t:
        for m in t:
            name = m.name.partition('/')[2]
            for p in (part, listing): (p/name if m.isdir() else (p/name).parent).mkdir(parents=True, exist_ok=True)
            if not m.isfile(): continue
            if name.endswith('.csv'):
                csv = t.extractfile(m).read()
                for p in (part, listing): (p/name).write_bytes(csv)
                continue
            with open(listing/name, 'wb') as f: f.truncate(m.size)
            folder,cls,file = name.split('/')
            key = folder, file.startswith('ILSVRC2012_val_')
            if seen[key,cls]<left[key]: (part/name).write_bytes(t.extractfile(m).read()); seen[key,cls] += 1
    return part,listing

@pytest.fixture(scope='session')
def woof(_woofs):
    "20 train and 10 val images a class of the real Imagewoof, in its layout and with its csv of noisy labels"
    return _woofs[0]

@pytest.fixture(scope='session')
def woof_listing(_woofs):
    "Every name and size of the real Imagewoof; the files are empty"
    return _woofs[1]

# ---- studies in worker processes

LAYERS = '''
import os,signal
from pathlib import Path
from torch import nn
from simpleattn.variants import register_variant

def gate(x): return x.tanh()

class Mine(nn.Module):
    def __init__(self, ni): super().__init__(); self.conv = nn.Conv2d(ni, ni, 1); nn.init.zeros_(self.conv.weight)
    def forward(self, x): return x + gate(self.conv(x))

class Raises(Mine):
    def __init__(self, ni): raise RuntimeError('this layer always raises')

class Wants(Mine):
    "Needs a file that is there"
    def __init__(self, ni, file): assert Path(file).exists(), 'not there'; super().__init__(ni)

class DiesOnce(Mine):
    "Kills its process the first time"
    def __init__(self, ni, mark):
        if not Path(mark).exists(): Path(mark).touch(); print('last words', flush=True); os.kill(os.getpid(), signal.SIGKILL)
        super().__init__(ni)

register_variant('mine', Mine)
'''

@pytest.fixture(scope='session')
def layers(tmp_path_factory):
    "A user's file of layers, which registers one as `mine`"
    p = tmp_path_factory.mktemp('layers')/'mylayers.py'
    p.write_text(LAYERS)
    return p

@pytest.fixture(scope='session')
def settings(tmp_path_factory, recipe):
    "A settings file with the recipe of `recipe`, and one ten times as long"
    p = tmp_path_factory.mktemp('settings')/'settings.ini'
    keys = ''.join(f"{k} = {','.join(map(str,v)) if isinstance(v,tuple) else v}\n" for k,v in recipe.changed().items() if k!='epochs')
    p.write_text(f'[tiny]\nepochs = 1\n{keys}\n[tiny-10]\nepochs = 10\n{keys}')
    return p

def bits(root):
    "What the records of a folder say: path -> (accuracy, bits, history)"
    from simpleattn.runs import find_runs
    good,bad = find_runs(root)
    assert bad=={}
    return {r.path:(r.acc,r.correct,r.history) for r in good}
