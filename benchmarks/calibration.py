"""Error rates and power of the statistics, by simulation through the public functions: `python benchmarks/calibration.py [SHARE]`

Every arm is drawn so that the truth is known, and the share of wrong (or right) verdicts is held against the bound that the project promises.
SHARE (default 1) scales the number of studies drawn; only a full run writes benchmarks/records/calibration.json."""
import csv,sys,time
from importlib.resources import files
import numpy as np, pandas as pd
from common import save
from simpleattn.plan import race_seeds
from simpleattn.stats import compare,compare_many

SD,M = 0.0075,3925
NAMES = ['baseline','a','b','c','d']

def draw(rng, n, k=2, rho=0., noise='normal', sd=SD):
    "n seeds x k arms of accuracies with seed correlation `rho`, none better than another"
    def z(*s): return rng.normal(size=s) if noise=='normal' else rng.exponential(size=s)-1 if noise=='skewed' else rng.standard_t(4, s)/2**0.5
    return np.clip(0.85 + sd*(rho**0.5*z(n,1) + (1-rho)**0.5*z(n,k)), 0, 1)

def share(f, n):
    "Mean of `f()` over n studies, each output apart"
    return np.mean([np.atleast_1d(f()) for _ in range(n)], axis=0, dtype=float).tolist()

def row(what, value, bound, studies, **cell):
    return dict(what=what, **cell, value=round(value, 4), bound=bound, ok=bool(value>=float(bound[2:]) if bound[0]=='>' else value<=float(bound[2:])),
        studies=studies)

def two_arms(k):
    "No difference; by the paired t of shared seeds, and beside it unpaired"
    for noise,rhos in (('normal',(0,.3,.6,.9)), ('skewed',(.5,)), ('t4',(.5,))):
        for n in (3,5,10,20):
            for rho in rhos:
                rng = np.random.default_rng([1, n, int(10*rho), len(noise)])
                def f(): x = draw(rng, n, 2, rho, noise).T; return [compare(*x, paired=q).verdict in ('better','worse') for q in (None,False)]
                e,welch = share(f, int(4000*k))
                yield row('two arms, error', e, '<=0.065', int(4000*k), n=n, correlation=rho, noise=noise, unpaired=round(welch, 4))

def families(k):
    "Four variants, none better: any named better or worse"
    for n in (3,5,10,20):
        for rho in (0.,.6):
            rng = np.random.default_rng([2, n, int(10*rho)])
            def f():
                r = compare_many(dict(zip(NAMES, draw(rng, n, 5, rho).T)))
                return any(c.verdict in ('better','worse') for c in r), any(c.p<.05 for c in r), n>=8 and min(c.p_maxt for c in r)<.05
            holm,plain,maxt = share(f, int(2000*k))
            yield row('four variants, family-wise error', holm, '<=0.06', int(2000*k), n=n, correlation=rho, uncorrected=plain, max_t=maxt if n>=8 else None)

def equivalence(k):
    "A variant that is worse by exactly delta, called equivalent"
    for n in (5,10,20):
        rng = np.random.default_rng([3, n])
        def f(): x = draw(rng, n, 2, .5); return compare(x[:,0], x[:,1]-.01).tost_p<.05
        yield row('equivalence at the margin, error', share(f, int(3000*k))[0], '<=0.06', int(3000*k), n=n)

def races(k):
    "Thirty seeds, judged after each; one arm and three"
    for noise in ('normal','skewed','t4'):
        for arms in (1,3):
            rng = np.random.default_rng([4, arms, len(noise)])
            def f(): x = draw(rng, 30, arms+1, .5,
                noise); return any(race_seeds(x[:,0], x[:,j], 1e-5, k=arms)[-1].verdict in ('better','worse') for j in range(1,arms+1))
            yield row('race of 30 seeds, error', share(f, int(4000*k))[0], '<=0.035', int(4000*k), arms=arms, noise=noise)
    rng = np.random.default_rng(5)
    def f(): x = draw(rng, 30, 2, .5); st = race_seeds(x[:,0], x[:,1]+SD,
        1e-5)[-1]; return st.verdict=='better', st.n # sd of the difference is SD at correlation 0.5
    power,pairs = share(f, int(4000*k))
    yield row('race at an effect of one sd, power within 30 seeds', power, '>=0.95', int(4000*k))
    yield row('race at an effect of one sd, pairs on average', pairs, '<=15', int(4000*k))
    rng = np.random.default_rng(7)
    def h(): x = draw(rng, 20, 2, .5); return [any(compare(*x[:n].T, sequential=q).p<.05 for n in (5,12,20)) for q in (True,False)]
    valid,fixed = share(h, int(1500*k))
    yield row('study grown from 5 to 12 to 20 seeds, error', valid, '<=0.05', int(1500*k), by_fixed_n_p=fixed)

def new_images(k):
    "Two arms equal over all images, each with its own easy ones, 20 seeds"
    for images,n in ((500,1200),(M,300)):
        rng,n = np.random.default_rng([8,images]),int(n*k)
        def f():
            p = np.clip(rng.beta(8, 1.5, images) + rng.normal(0, .12, (2,images)), .02, .98)
            b,v = (rng.random((20,images)) < q for q in p)
            c,s = (compare(b.mean(1), v.mean(1), n_images=images, correct=(b,v), sequential=q) for q in (False,True))
            return c.new_verdict in ('better','worse'), c.verdict in ('better','worse'), s.new_verdict in ('better','worse')
        new,seeds,raced = share(f, n)
        yield row('new images, error', new, '<=0.08', n, images=images)
        yield row('new images, error of the test over seeds only', seeds, '>=0.20', n, images=images)
        yield row('new images, error of a raced comparison', raced, '<=0.05', n, images=images)

def diverging(k):
    "A variant without effect that loses its worst fifth, 20 seeds: named better"
    rng = np.random.default_rng(9)
    def f():
        x = draw(rng, 20, 2, .5); bad = x[:,1] < .85+SD*-.8416
        df = pd.DataFrame([dict(arm=a, seed=i, acc=x[i,j], status='diverged' if j and bad[i] else 'ok') for j,a in enumerate(('baseline','v'))
            for i in range(20)])
        c = compare_many(df)['v']; return c.verdict=='better', c.p is not None and c.p<.05 and c.diff>0
    verdict,completers = share(f, int(1000*k))
    yield row('variant that loses its worst fifth, named better', verdict, '<=0.025', int(1000*k), by_completers_alone=completers)
    rng = np.random.default_rng([11, 0])
    def g():
        x = draw(rng, 30, 2, .5); lost = x[:,1] < .85+SD*-.8416; either = np.where(rng.random(x.shape)<.1, np.nan, x)
        return race_seeds(x[:,0], np.where(lost, np.nan, x[:,1]), 1e-5)[-1].verdict=='better', race_seeds(*either.T, 1e-5)[-1].verdict in ('better','worse')
    fifth,random = share(g, int(1500*k))
    yield row('race of a variant that loses its worst fifth, named better', fifth, '<=0.025', int(1500*k))
    yield row('race where a tenth of the runs of both arms diverges, error', random, '<=0.035', int(1500*k))

def real(k):
    "Random halves of 20 published runs of one arm against each other"
    arms = {}
    for r in csv.DictReader((files('simpleattn')/'published_runs.csv').read_text().splitlines()):
        arms.setdefault(tuple(v for c,v in r.items() if c not in ('run','accuracy')), []).append(float(r['accuracy'])/100)
    arms,rng = [np.array(a) for a in arms.values() if len(a)==20],np.random.default_rng(10)
    def f(a): h = rng.permutation(a); return [compare(h[:10], h[10:], n_images=500, paired=q).p<.05 for q in (True,False)]
    paired,welch = np.mean([f(a) for a in arms for _ in range(max(2, int(100*k)))], axis=0)
    for what,e in (('paired t',paired),('Welch t',welch)):
        yield row('halves of 20 real runs, error', float(e), '<=0.065', len(arms)*max(2, int(100*k)), test=what, arms=len(arms))

SECTIONS = dict(two_arms=two_arms, families=families, equivalence=equivalence, races=races, new_images=new_images, diverging=diverging, real=real)

def main(k=1., sections=SECTIONS):
    rows,t0 = [],time.time()
    for name,f in sections.items():
        for r in f(k):
            rows.append(r)
            print(f"{'ok  ' if r['ok'] else 'FAIL'} {r['value']:8.4f} {r['bound']:>8}  {r['what']}  "
                f"{', '.join(f'{k} {v}' for k,v in r.items() if k not in ('what','value','bound','ok'))}", flush=True)
    return dict(seconds=round(time.time()-t0), ok=all(r['ok'] for r in rows), rows=rows)

if __name__=='__main__':
    k = float(sys.argv[1]) if len(sys.argv)>1 else 1.
    res = main(k)
    if k>=1: save('calibration', res.pop('rows'), 'numpy', 'scipy', **res)
    sys.exit(not res['ok'])
