"""Fifteen minutes of one GPU in two calls, each a list of steps with limits: `python benchmarks/gpu/plan.py a`, then `b`

Only what Python itself brings is imported here. A step is a command of its own (`steps.py NAME`), ends at its limit at the latest, and what it wrote is
kept whatever comes after it. GPU_DRY=1 makes every step tiny and a CPU's. README.md beside this file says what to carry and what to do when a step fails."""
import json,os,signal,subprocess,sys,tarfile,time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
WORK = Path(os.environ.get('GPU_WORK', '/tmp/gpu'))
OUT = Path(os.environ.get('OUT', WORK/'out'))
PACK = TREE/os.environ.get('GPU_PACK', '.gpu')
DRY = bool(os.environ.get('GPU_DRY'))
PATIENCE = int(os.environ.get('GPU_PATIENCE', 1)) # times each limit: a dry run, on a machine that does other things, shows that steps work
# what the fifteen minutes are for: a study that has no name yet in runs/_studies
QUESTION = dict(name='nette-128-5-v1-gpu', recipe='nette-128-5-v1', arms=['baseline','self','simple','symmetric'], seeds=[*range(12)])
began = time.monotonic()
running = {} # name of a step -> its process and when it began

def say(text):
    line = f'[{time.monotonic()-began:4.0f} s] {text}'
    print(line, flush=True)
    with open(OUT/'plan.log', 'a') as f: f.write(line+'\n')

def environment():
    "Folders of its own, so that nothing is asked of the machine"
    own = {k:str(WORK/v) for k,v in dict(FASTAI_HOME='fastai', XDG_CACHE_HOME='cache', MPLCONFIGDIR='mpl', TORCHINDUCTOR_CACHE_DIR='inductor',
        TRITON_CACHE_DIR='triton', GPU_WORK='').items()}
    paths = [str(WORK/'src'), str(WORK/'site-packages'), os.environ.get('PYTHONPATH', '')]
    return {**os.environ, **own, 'PYTHONPATH':os.pathsep.join(filter(None, paths)), 'OMP_NUM_THREADS':'1', 'MPLBACKEND':'agg', 'PYTHONWARNINGS':'ignore'}

def start(name, command):
    "Begin a step in a process group of its own; in a session of its own it would outlive a call that is cut off"
    with open(WORK/'log'/f'{name}.log', 'wb') as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment(), cwd=WORK/'src', process_group=0)
    running[name] = process, time.monotonic()

def stop(process):
    "Interrupt a step and what it has started, and kill what does not end"
    for how,patience in ((signal.SIGINT, 8), (signal.SIGKILL, 5)):
        os.killpg(process.pid, how)
        try: return process.wait(patience)
        except subprocess.TimeoutExpired: pass

def end_all(*_):
    "The call is ended from outside: so is what it has begun"
    for process,_ in running.values():
        if process.poll() is None: os.killpg(process.pid, signal.SIGKILL)
    keep()
    sys.exit('ended from outside')

def finish(name, seconds, lines=6):
    "Wait for a step, stop it so many seconds after its beginning, show the end of what it said, and keep what is there"
    process,since = running[name]
    left = since + max(seconds, 1)*PATIENCE - time.monotonic()
    try: code = process.wait(max(left, 0))
    except subprocess.TimeoutExpired:
        stop(process)
        code = 'stopped at its limit'
    del running[name]
    said = (WORK/'log'/f'{name}.log').read_text(errors='replace').splitlines()[-lines:]
    say(f'{name}: {code}')
    for line in said: say('  '+line[:400])
    keep()
    return code==0

def step(name, seconds, *arguments, lines=6):
    "One step of `steps.py`"
    say(f'{name}: begins, at most {seconds:.0f} s')
    start(name, [sys.executable, str(HERE/'steps.py'), name, *map(str, arguments)])
    return finish(name, seconds, lines)

def keep():
    "Logs, results and records as archives for the way home"
    for name,parts in (('logs', ['log', *(o.name for o in WORK.glob('*.json'))]), ('runs', ['runs'])):
        parts = [WORK/o for o in parts if (WORK/o).exists()]
        with tarfile.open(OUT/f'{name}.new', 'w:gz') as tar:
            for o in parts: tar.add(o, o.name)
        os.replace(OUT/f'{name}.new', OUT/f'{name}.tgz')

def set_up():
    "Wheels beside torch's own packages, the code at its commit; the part of the images that was carried is laid by, since each call brings its own"
    for o in ('log','stash','runs','cache','site-packages'): (WORK/o).mkdir(parents=True, exist_ok=True)
    OUT.mkdir(parents=True, exist_ok=True)
    (WORK/'stash'/'question.json').write_text(json.dumps(QUESTION))
    for part in PACK.glob('data*/*.part.?'): lay_by(part)
    if (WORK/'src').exists(): return
    for wheel in PACK.glob('whl/*.whl'): subprocess.run([sys.executable, '-m', 'zipfile', '-e', str(wheel), str(WORK/'site-packages')], check=True)
    code = PACK/'code.tgz'
    if not code.exists(): (WORK/'src').symlink_to(TREE)
    else:
        with tarfile.open(code) as tar: tar.extractall(WORK/'src', filter='tar')

def lay_by(part):
    "Keep a part of the images; those of another archive go"
    for old in (WORK/'stash').glob('*.part.?'):
        if archive_of(old)!=archive_of(part): old.unlink()
    (WORK/'stash'/part.name).write_bytes(part.read_bytes())

def archive_of(part): return part.name[:-len('.part.0')]

def images():
    "The archive, joined from its two parts; None where one is not there: a machine that is fresh for call B"
    if 'GPU_DATA' in os.environ: return os.environ['GPU_DATA']
    parts = sorted((WORK/'stash').glob('*.part.?'))
    if len(parts)!=2: return None
    archive = WORK/'data'/archive_of(parts[0])
    archive.parent.mkdir(exist_ok=True)
    archive.write_bytes(b''.join(o.read_bytes() for o in parts))
    return archive

def call_a():
    "What works, and the kernels of every arm: 3 to 6 minutes"
    if not step('facts', 60): return say('No set-up: stop. Give the machine back, and mend at home.')
    if not step('smoke', 120): return say('Neither eager nor compiled trains: stop. Give the machine back, and mend at home.')
    say('warm: begins beside the tests, at most 170 s')
    start('warm', [sys.executable, str(HERE/'steps.py'), 'warm'])
    step('tests', 150, lines=14)
    finish('warm', 170, len(QUESTION['arms']))
    say('End of A: call B at once, or give the machine back.')

def call_b(limit):
    "The study first, then speed, as far as the time allows: 7 to 9 minutes"
    def left(): return limit-(time.monotonic()-began)
    data = images()
    if data is None: return say('A part of the images is not here (a fresh machine): call A again.')
    if not step('decode', 60, data): return
    step('study', left()-60, data, lines=12)
    for name,least,most,*arguments in (('ratio',40,75,data), ('solo',30,60), ('short',40,75)):
        if left()>least: step(name, min(left(), most), *arguments)
    if left()>30: step('more', left(), data, left()-10)
    say(f"{len([*(WORK/'runs').glob('*/*/*/*.json')])} records")

def main(call, limit=560):
    set_up()
    signal.signal(signal.SIGTERM, end_all)
    say(f'call {call.upper()}{", dry" if DRY else ""}')
    call_a() if call=='a' else call_b(float(limit))

if __name__=='__main__': main(*sys.argv[1:])
