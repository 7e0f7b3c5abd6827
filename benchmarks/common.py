"What every benchmark here shares: side-by-side timing in one process, the machine in words, and the record"
import json,os,platform,sys,time
from importlib.metadata import version
from pathlib import Path

RECORDS = Path(__file__).resolve().parent/'records'

def machine(*packages):
    "The machine, without a name of the host, and the versions of packages"
    f = Path('/proc/cpuinfo')
    cpu = next((l.split(':')[1].strip() for l in f.read_text().splitlines() if l.startswith('model name')), '') if f.is_file() else platform.processor()
    d = dict(cpu=cpu, cores=os.cpu_count(), python=platform.python_version(), **{p:version(p).split('+')[0] for p in packages})
    if 'torch' not in packages: return d
    import torch
    return dict(d, threads=torch.get_num_threads(), gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None)

def _cuda():
    return 'torch' in sys.modules and sys.modules['torch'].cuda.is_available()

def sync():
    if _cuda(): sys.modules['torch'].cuda.synchronize()

def clock():
    "Processor time of this process where there is no GPU, so that what others do on the machine does not count; else the time by the clock, all kernels done"
    return time.perf_counter() if _cuda() else time.process_time()

def side_by_side(
    forms,        # Name -> function without arguments
    rounds=9,     # Rounds; in each, every form runs once, in turn
    seconds=0.,   # A form is repeated within a round until this much time is filled
    wall=False    # On a CPU too the time by the clock on the wall, in place of the processor's?
):
    "Milliseconds by form, of processor time on a CPU: median and the quartiles over the rounds"
    def once(f, n):
        now = time.perf_counter if wall else clock
        sync(); t = now()
        for _ in range(n): f()
        sync(); return (now()-t)/n*1e3
    reps = {k:max(1, int(seconds*1e3/min(once(f, 1) for _ in range(4 if _cuda() else 1)))) for k,f in forms.items()} # which also warms up; on a GPU the first calls compile and load
    ts = {k:[] for k in forms}
    for _ in range(rounds):
        for k,f in forms.items(): ts[k].append(once(f, reps[k]))
    def q(v, p): return round(sorted(v)[round(p*(len(v)-1))], 4)
    return {k:dict(ms=q(v,.5), low=q(v,.25), high=q(v,.75)) for k,v in ts.items()}

def save(name, rows, *packages, **facts):
    "Write the record of a benchmark that ran here"
    m = machine(*packages)
    write(f"{name}{'-gpu' if m.get('gpu') else ''}", m, rows, **facts)

def write(name, machine, rows, **facts):
    "Write a record, a row a line"
    RECORDS.mkdir(exist_ok=True)
    head = json.dumps(dict(benchmark=name.removesuffix('-gpu'), machine=machine, **facts), indent=1).removesuffix('\n}')
    lines = ',\n  '.join(map(json.dumps, rows))
    (RECORDS/f'{name}.json').write_text(f'{head},\n "rows": [\n  {lines}\n ]\n}}\n')
