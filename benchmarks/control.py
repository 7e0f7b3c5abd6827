"""Error rates of a control, and what the band of a power curve holds, by simulation: `python benchmarks/control.py [SHARE]`

SHARE (default 1) scales the number of studies; only whole ones are written to benchmarks/records/control.json. A row without a bound is a limit."""
import sys, time
from itertools import product
import numpy as np
from calibration import ALPHA, DELTA, ERROR, SD, draw, generator, row, t_bounds, welch
from common import save
from simpleattn.control import shift_to_find
from simpleattn.plan import plan, race_path
from simpleattn.stats import compare

STUDIES = 40_000
BAND, FOUND = '>=0.79', '>=0.79'

def halves(x):
    "The runs that finished first, and those that finished later"
    first = (x.shape[-1]+1)//2
    return x[...,:first], x[...,first:]

def shifted(x):
    "Does the interval between the halves of each study leave out 0?"
    low, high = t_bounds(*welch(*halves(x)))
    said = (low > 0) | (high < 0)
    for runs,here in zip(x[:40], said):
        c = compare(*halves(runs), paired=False)
        assert (c.low > 0 or c.high < 0)==here, 'here and there'
    return said

def null(k):
    "A shift is named where there is none; and where there is one of the size that it could have found"
    for n,noise in product((4, 5, 10, 20), ('normal','t4','skewed')):
        x = draw(generator('null', n, noise), int(STUDIES*k), n, variants=0, noise=noise)[:,0]
        yield row('null, shift named', shifted(x), ERROR, n=n, noise=noise)
        x[:,(n+1)//2:] -= shift_to_find((n+1)//2, n//2, SD, ALPHA)
        yield row('shift that it could have found, named', shifted(x), FOUND if noise=='normal' else None, n=n, noise=noise)

def machines(k):
    "The same of two machines with unlike numbers of runs"
    for few,many in ((2, 8), (2, 18), (4, 16), (5, 15)):
        x = draw(generator('machines', few, many), int(STUDIES*k), few+many, variants=0, noise='normal')[:,0]
        x[:,many:] += shift_to_find(few, many, SD, ALPHA)
        low, high = t_bounds(*welch(x[:,:many], x[:,many:]))
        yield row('shift between machines that it could have found, named', (low > 0) | (high < 0), FOUND, n=few+many, few=few, noise='normal')

def sensitivity(k):
    "A handicap of so many sd of a difference: called worse by the interval after all seeds, and by the sequence"
    for n,loss in product((5, 10), (1, 2, 4)):
        x = draw(generator('sensitivity', n, loss), int(4000*k), n)
        d = np.diff(x, axis=1)[:,0]
        d = d - loss*SD*2**.5
        low, high = t_bounds(d.mean(-1), d.std(-1, ddof=1)/n**.5, n-1)
        last = [race_path(o, DELTA, ALPHA)[-1] for o in d]
        at = [o.decided_at for o in last if o.verdict=='worse']
        yield row('handicap found', high < 0, n=n, sds=loss, by_the_sequence=round(len(at)/len(d), 4), at_median=float(np.median(at)) if at else None)

def band(k):
    "The curve of the true sd lies in the band that a pilot draws, at every number of seeds"
    for n,noise in product((5, 10, 20), ('normal','t4','skewed')):
        pilots = sds_of(generator('band', n, noise), int(STUDIES*k), n, noise)
        inside = [_holds(sd, n) for sd in pilots[:200]]
        low, high = (plan(n, SD, n, corr=None).sd_band[i]/SD for i in (0, 1))
        within = (pilots*low <= SD) & (SD <= pilots*high)
        assert inside==within[:200].tolist(), 'here and there'
        yield row('power curve within its band', within, BAND if noise=='normal' else None, n=n, noise=noise)

def sds_of(rng, studies, n, noise): return draw(rng, studies, n, variants=0, noise=noise)[:,0].std(-1, ddof=1)

def _holds(sd, n, seeds=(4, 8, 16, 40)):
    "By the public values: at these numbers of seeds both curves of the true sd lie between the ends of the band"
    true, seen = plan(n, SD, corr=None), plan(n, sd, n, corr=None)
    chances = 'power_better', 'power_equivalent'
    ends = [sorted(getattr(o, c)(m) for o in seen.band) for c in chances for m in seeds]
    at = [getattr(true, c)(m) for c in chances for m in seeds]
    return all(low-1e-9 <= o <= high+1e-9 for (low,high),o in zip(ends, at))

SECTIONS = dict(null=null, machines=machines, sensitivity=sensitivity, band=band)

def main(k=1.):
    rows, start = [], time.process_time()
    for section in SECTIONS.values():
        for r in section(k):
            rows.append(r)
            print('ok  ' if r['ok'] else 'FAIL', r, flush=True)
    print(f'{time.process_time()-start:.0f} s of processor')
    return rows

if __name__ == '__main__':
    share = float(sys.argv[1]) if sys.argv[1:] else 1.
    rows = main(share)
    if share >= 1: save('control', rows, 'numpy', 'scipy', ok=all(r['ok'] for r in rows))
    sys.exit(not all(r['ok'] for r in rows))
