"""How long the statistics take on one core: `python benchmarks/stats_speed.py`

10,000 default comparisons of 30 seeds, and `simpleattn compare` on a study of 1,000 records from a cold start; `others_at_work` is how many other
processes wanted the processor. Writes benchmarks/records/stats_speed.json."""
import os,resource,subprocess,sys,tempfile,time
os.environ.setdefault('OMP_NUM_THREADS', '1')
import numpy as np
from calibration import M,draw
from common import save
from simpleattn.recipes import Recipe
from simpleattn.runs import Run,pack_bits,write_run
from simpleattn.stats import compare
from simpleattn.study import Study
from simpleattn.variants import get_variant

def comparisons(n=10_000, seeds=30):
    "Seconds of processor time for n default comparisons with all their fields, of fractions and of counts of correct"
    studies = draw(np.random.default_rng(0), 200, seeds, correlation=.5)
    def timed(f):
        start = time.process_time()
        for i in range(n): f(studies[i%200])
        return time.process_time()-start
    return timed(lambda x: compare(*x).to_dict()), timed(lambda x: compare(*(x*M).round(), n_images=M).to_dict())

def a_study(root, seeds=250, variants=('baseline','self','simple','symmetric')):
    "A study of 1,000 records with a bit for each of 3,925 images, drawn"
    r,rng = Recipe('drawn'),np.random.default_rng(0)
    s = Study('drawn', list(variants), seeds, recipe=r, root=root, env='cpu-torch2.15')
    s.declare()
    for seed in range(seeds):
        luck = rng.normal()*.01
        for v in map(get_variant, variants):
            right = rng.random(M) < .85+luck+.005*rng.normal(); acc = float(right.mean())
            write_run(Run(r.to_dict(), r.hash, v.to_dict(), s.env, seed, 'ok', acc, acc, 1, M, pack_bits(right),
                [dict(train_loss=1., valid_loss=1., acc=acc)]*5, 10**6, 60., 70.,
                dict(dataset='drawn', source='full', fingerprint='0'*12, n_train=9025, n_val=M), dict(device='cpu', finished='2026-01-01T00:00:00Z')), root)
    return len(variants)*seeds

COLD = "import sys; from simpleattn.cli import main; code = main(sys.argv[1:]); bad = [m for m in ('torch','fastai') if m in sys.modules]; sys.exit(code or (f'imported {bad}' if bad else 0))"

def cold(*args):
    "Seconds of one command in a process of its own, by the clock and of the processor; fails where it imports torch or fastai"
    def cpu(): o = resource.getrusage(resource.RUSAGE_CHILDREN); return o.ru_utime+o.ru_stime
    t,c = time.perf_counter(),cpu()
    res = subprocess.run([sys.executable, '-c', COLD, *args], capture_output=True, text=True)
    assert res.returncode==0, res.stderr
    return time.perf_counter()-t, cpu()-c

if __name__=='__main__':
    fractions,counts = comparisons()
    with tempfile.TemporaryDirectory() as root:
        n = a_study(root)
        (cli,cpu),(as_json,json_cpu) = (min(cold('compare', 'drawn', '--root', root, *fmt) for _ in range(5)) for fmt in ((), ('--fmt','json')))
    rows = [dict(what='10,000 default comparisons of 30 seeds, fractions', cpu_seconds=round(fractions, 1), bound=60),
        dict(what='the same, counts of correct', cpu_seconds=round(counts, 1), bound=60),
        dict(what=f'simpleattn compare on {n} records, cold, with its report', seconds=round(cli, 2), cpu_seconds=round(cpu, 2), bound=5),
        dict(what=f'simpleattn compare --fmt json on {n} records, cold', seconds=round(as_json, 2), cpu_seconds=round(json_cpu, 2), bound=5)]
    rows = [dict(r, ok=max(r['cpu_seconds'], r.get('seconds', 0))<r['bound']) for r in rows]
    for r in rows: print(f"{'ok  ' if r['ok'] else 'FAIL'} {r['cpu_seconds']:7.2f} s of processor < {r['bound']:2} s  {r['what']}")
    ok = all(r['ok'] for r in rows)
    save('stats_speed', rows, 'numpy', 'scipy', ok=ok, others_at_work=round(os.getloadavg()[0]-1, 1))
    sys.exit(not ok)
