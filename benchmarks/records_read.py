"""How fast records are read with all their checks: python benchmarks/records_read.py [10000 100000] writes benchmarks/records/records_read.json

The records are copies of a real one (60 lines of history and all) under other seeds, each sealed anew. Every size is read in a process of its own, with files
in the page cache; memory is the process's peak, with Python, pandas and the table in it."""
import dataclasses,json,os,platform,resource,subprocess,sys,tempfile,time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = ['recipe','variant','env','seed','status','acc']
LIMITS = {10_000:(3,150), 100_000:(30,300)} # seconds, MB

def write(root, n):
    "n records in ten arms, without the flushes that durability costs"
    from simpleattn.runs import _pretty,_seal,find_runs
    run = find_runs(ROOT/'runs', 'woof-cpu', 'simple')[0][0]
    for k in range(n):
        r = dataclasses.replace(run, seed=k//10, variant=dict(run.variant, name=f'simple-{k%10}'))
        p = Path(root)/r.path
        p.parent.mkdir(parents=True, exist_ok=True)
        d = r.to_dict()
        p.write_text(_pretty(dict(d, sha256=_seal(d))))
    return p.stat().st_size

def read(root, n):
    "Seconds and peak memory of one reading"
    t0 = time.perf_counter()
    from simpleattn.runs import load_runs
    import pandas
    t1 = time.perf_counter()
    df = load_runs(root, COLUMNS)
    seconds = time.perf_counter()-t1
    assert len(df)==n and df.attrs['corrupt']=={} and df.acc.notna().all()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024/1e6
    print(json.dumps(dict(records=n, seconds=round(seconds,2), import_seconds=round(t1-t0,2), peak_mb=round(peak))))

def cpu():
    names = [l.split(':')[1].strip() for l in open('/proc/cpuinfo') if l.startswith('model name')] if os.path.exists('/proc/cpuinfo') else []
    return names[0] if names else platform.processor() or platform.machine()

def main(sizes):
    res = []
    for n in sizes:
        with tempfile.TemporaryDirectory() as d:
            size = write(d, n)
            once = lambda: json.loads(subprocess.run([sys.executable, __file__, '--read', d, str(n)], capture_output=True, text=True, check=True).stdout)
            got = [once() for _ in range(3)]
        best = min(got, key=lambda o: o['seconds'])
        limit = LIMITS.get(n)
        res.append(dict(best, all_seconds=[o['seconds'] for o in got], peak_mb=max(o['peak_mb'] for o in got), bytes_of_a_record=size,
            limit_seconds=limit and limit[0], limit_mb=limit and limit[1], met=limit is None or best['seconds']<=limit[0] and max(o['peak_mb'] for o in got)<=limit[1]))
        print(res[-1], flush=True)
    from simpleattn.runs import code_commit
    import pandas
    return dict(what='records read with path, schema and checksum held against the content; best of three readings, files in the page cache', columns=COLUMNS, results=res,
        cpu=cpu(), cores=len(os.sched_getaffinity(0)), python=platform.python_version(), pandas=pandas.__version__, commit=code_commit(), date=time.strftime('%Y-%m-%d'))

if __name__=='__main__':
    if sys.argv[1:2]==['--read']: read(sys.argv[2], int(sys.argv[3]))
    else:
        d = main([int(o) for o in sys.argv[1:]] or list(LIMITS))
        (ROOT/'benchmarks'/'records'/'records_read.json').write_text(json.dumps(d, indent=1)+'\n')
        sys.exit(0 if all(o['met'] for o in d['results']) else 1)
