"""How long the commands that do not train take from a cold start, and what they import: python benchmarks/startup.py"""
import os,shutil,subprocess,sys,tempfile,time
from pathlib import Path
from common import save
from stats_speed import a_study

LIMITS = {'--help':1, 'recipes':1, 'variants':1, 'compare':5, 'leaderboard':5, 'runs':5}

def main(rounds=5):
    cmd = shutil.which('simpleattn', path=str(Path(sys.executable).parent)) or 'simpleattn'
    rows = []
    with tempfile.TemporaryDirectory() as tmp:
        a_study(tmp, 250)
        args = {'--help':['--help'], 'recipes':['recipes'], 'variants':['variants'], 'compare':['compare','drawn','--root',tmp], 'leaderboard':['leaderboard','--root',tmp], 'runs':['runs','--root',tmp]}
        for k in [*args]*rounds:
            t,c = time.perf_counter(),os.times()
            res = subprocess.run([cmd,*args[k]], capture_output=True, text=True)
            d = os.times()
            assert res.returncode==0, (k, res.stderr)
            rows.append(dict(command=k, seconds=round(time.perf_counter()-t, 2), processor=round(d.children_user+d.children_system-c.children_user-c.children_system, 2)))
    med = lambda k,f: sorted(r[f] for r in rows if r['command']==k)[rounds//2]
    out = [dict(command=k, processor_s=med(k,'processor'), seconds=med(k,'seconds'), all=[r['processor'] for r in rows if r['command']==k], at_most=n, ok=med(k,'processor')<=n) for k,n in LIMITS.items()]
    for r in out: print(f"{r['command']:12} {r['processor_s']:.2f} s of processor, {r['seconds']:.2f} s by the clock (at most {r['at_most']} s)", flush=True)
    ok = all(r['ok'] for r in out)
    save('startup', out, 'pandas', ok=ok, records=1000)
    return ok

if __name__=='__main__': sys.exit(not main())
