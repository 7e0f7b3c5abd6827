"""Error rates of pooled studies and of the best arm, by simulation: `python benchmarks/questions.py [SHARE]`

As in calibration.py, the truth of each drawn study is known, all studies of a cell are judged at once by the arithmetic below, and some of them by the public
functions too: another number there stops the run. A row without a bound is a limit. SHARE (default 1) scales the number of studies; only whole runs are written to
benchmarks/records/questions.json."""
import sys, time
from itertools import combinations, product
import numpy as np
from scipy.stats import chi2, t
from common import save
from calibration import ALPHA, ERROR, MEAN, NOISE, SD, generator, row
from simpleattn.questions import best, pool
from simpleattn.stats import compare, compare_many

STUDIES = 20_000
RATIOS = 0, .05, .1, .25, .5, 1, 2 # between-study sd over the sd of a study's seeds

# ---- pooled studies

def sizes(n, k): return np.full(k, n) if isinstance(n, int) else np.resize(n, k)

def draw_studies(rng, studies, k, n, ratio, spread, noise='normal'):
    "Means, variances of the means, and true differences, (studies, k) each, with (studies, k, most) differences; the k-th study is `spread` times as noisy"
    ns, sds = sizes(n, k), SD*np.linspace(1, spread, k)
    true = ratio*SD*NOISE[noise](rng, (studies, k))
    d = true[...,None] + sds[:,None]*rng.standard_normal((studies, k, ns.max()))
    d = np.where(np.arange(ns.max()) < ns[:,None], d, np.nan)
    return np.nanmean(d, -1), np.nanvar(d, -1, ddof=1)/ns, d

def spread_about(values, variances, between):
    "Weighted sum of squares about the weighted mean, of each set of studies"
    weights = 1/(variances+between)
    mean = (weights*values).sum(1, keepdims=True)/weights.sum(1, keepdims=True)
    return (weights*(values-mean)**2).sum(1)

def missed_between(values, variances, n, ratio, widened):
    "Whether the profile interval leaves the true sd out: its ends lie where `spread_about` crosses two quantiles, and never below 0"
    k, df = values.shape[1], n-1
    factor, scale = (df/(df-2), (df-1)/(df-4)) if widened else (1, 1)
    here = chi2.cdf(spread_about(values, variances*factor, (ratio*SD)**2)/scale, (k-1)/scale)
    return (here > 1-ALPHA/2) | (here < ALPHA/2)*(ratio > 0)

def draw_unlike(rng, studies, ns, sds, ratio):
    "Means of studies of these seeds and sds, (studies, k)"
    noise = rng.standard_normal((studies, len(ns)))*np.array(sds)/np.sqrt(ns)
    return SD*(noise + ratio*rng.standard_normal((studies, len(ns))))

def comparison(d, rng):
    "The public comparison of one study"
    d = d[~np.isnan(d)]
    baseline = MEAN + rng.normal(0, SD, len(d))
    return compare(baseline, baseline+d, paired=True)

def check_pool(d, half, missed, ratio, rng, n=12):
    "The first sets of studies have the interval of the public function, and its interval of the sd between studies misses where it does here"
    for i,study in enumerate(d[:n]):
        pooled = pool([comparison(o, rng) for o in study])
        if not np.isclose(pooled.high-pooled.diff, half[i], rtol=1e-6): raise AssertionError(f'{pooled.high-pooled.diff} there, {half[i]} here')
        if missed is None: continue
        low, high = pooled.between_interval
        if missed[i] != (not low <= ratio*SD+1e-12 or not ratio*SD <= high+1e-12): raise AssertionError(f'{pooled.between_interval} there, {missed[i]} here')

def pooled(k):
    "Studies whose true differences vary about 0: an interval of the mean without 0, and a further study outside its prediction"
    for arms,n,ratio,spread in product((3, 5, 10), (5, 10, 20, (5, 20)), RATIOS, (1, 3)):
        cell = dict(k=arms, n=n, ratio=ratio, spread=spread)
        rng = generator('pooled', cell)
        values, variances, d = draw_studies(rng, int(STUDIES*k), arms, n, ratio, spread)
        mean, s = values.mean(1), values.std(1, ddof=1)
        half = s/np.sqrt(arms)*t.ppf(1-ALPHA/2, arms-1)
        missed = missed_between(values, variances, n, ratio, True) if n == 20 else None
        check_pool(d, half, missed, ratio, rng)
        yield row('mean of studies, missed', np.abs(mean) > half, ERROR, **cell)
        if arms >= 5: yield further(rng, mean, half*np.sqrt(arms+1), cell)
        if n == 20: yield row('sd between studies, missed', missed, ERROR, **cell)
        if n == 20: yield row('sd between studies, missed by the profile that takes variances as exact', missed_between(values, variances, n, ratio, False), **cell)

def further(rng, mean, half, cell):
    "A further study as it would be seen, of the size and noise of one of those that are there"
    values, _, _ = draw_studies(rng, len(mean), cell['k'], cell['n'], cell['ratio'], cell['spread'])
    one = values[np.arange(len(mean)), rng.integers(0, cell['k'], len(mean))]
    alike = isinstance(cell['n'], int) and (cell['spread'] == 1 or cell['ratio'] >= 1)
    return row('a further study, outside the prediction', np.abs(one-mean) > half, ERROR if alike else None, **cell)

UNLIKE = dict(few_noisy=((5, 3), (20, 1)), few_exact=((5, 1), (20, 3))) # seeds and sd (over SD) of some studies, and of the others

def unlike_studies(k):
    "Studies of unlike seeds and noise: the mean missed, and a further study of one of these kinds outside its prediction"
    for (name,kinds),arms,ratio in product(UNLIKE.items(), (5, 8, 10), (0, .25, 1)):
        for some in sorted({1, 2, arms//2}):
            cell = dict(kinds=name, k=arms, some=some, ratio=ratio)
            rng, size = generator('unlike', cell), int(STUDIES*k)
            ns, sds = zip(*([kinds[0]]*some + [kinds[1]]*(arms-some)))
            values, again = (draw_unlike(rng, size, ns, sds, ratio) for _ in range(2))
            mean, half = values.mean(1), values.std(1, ddof=1)/np.sqrt(arms)*t.ppf(1-ALPHA/2, arms-1)
            one = again[np.arange(size), rng.integers(0, arms, size)]
            yield row('mean of unlike studies, missed', np.abs(mean) > half, ERROR, **cell)
            yield row('a further study, outside the prediction', np.abs(one-mean) > half*np.sqrt(arms+1), **cell)

# ---- studies that share no runs

def counts_of_correct(rng, sets, images, n, k=10, arms=2):
    "Right images of the runs of independent studies with one mean, (sets, k, arms, 20), and how many seeds each has"
    x = np.rint(images*(MEAN + SD*rng.standard_normal((sets, k, arms, 20)))).astype(int)
    return x, rng.integers(n[0], n[1]+1, (sets, k))

def may_be_refused(x, ns, i, j):
    "Sets in which these two studies have so much alike that the public function is asked"
    seeds = np.arange(20) < np.minimum(ns[:,i], ns[:,j])[:,None]
    equal = ((x[:,i] == x[:,j]) & seeds[:,None]).sum(-1)
    most = 2*equal > seeds.sum(-1)[:,None]
    def ordered(one): return np.sort(np.where(np.arange(20) < ns[:,one,None,None], x[:,one], -1), -1)
    same = (ordered(i) == ordered(j)).all(-1)
    return np.flatnonzero(most.any(1) | (equal.sum(1) > seeds.sum(-1)) | same.any(1))

def is_refused(x, ns, images):
    "Whether two studies are refused as one"
    arms = [{a: [dict(seed=s, acc=c/images) for s,c in enumerate(o[:n])] for a,o in zip(('baseline','v'), study)} for study,n in zip(x, ns)]
    try: pool([next(iter(compare_many(o))) for o in arms])
    except ValueError as e:
        if 'share runs' not in str(e): raise
        return True
    return False

def apart(k):
    "Ten independent studies, of which any two are refused as one"
    for images,n in product((500, 3_929), ((5, 20), (5, 5), (20, 20))):
        rng = generator('apart', images, n)
        x, ns = counts_of_correct(rng, int(STUDIES*k), images, n)
        refused = np.zeros(len(x), bool)
        for i,j in combinations(range(10), 2):
            for at in may_be_refused(x, ns, i, j): refused[at] |= is_refused(x[at,[i,j]], ns[at,[i,j]], images)
        yield row('independent studies, any two refused', refused, images=images, n=n)

def skewed_studies(k):
    "True differences of skewed distribution"
    for arms,ratio in product((3, 5, 10), (.5, 2)):
        values, _, _ = draw_studies(generator('skewed', arms, ratio), int(STUDIES*k), arms, 10, ratio, 1, 'skewed')
        yield row('mean of studies that vary askew, missed', np.abs(values.mean(1)) > values.std(1, ddof=1)/np.sqrt(arms)*t.ppf(1-ALPHA/2, arms-1), k=arms, ratio=ratio)

def two_studies(k):
    "Two studies of one true difference: an interval of their difference without 0"
    for n,spread in product((5, 10, 20, (5, 20), (20, 5)), (1, 3)):
        rng, cell = generator('two', n, spread), dict(n=n, spread=spread)
        values, variances, d = draw_studies(rng, int(STUDIES*k), 2, n, 0, spread)
        df = variances.sum(1)**2/(variances**2/(sizes(n, 2)-1)).sum(1)
        half = np.sqrt(variances.sum(1))*t.ppf(1-ALPHA/2, df)
        check_pool(d, half, None, 0, rng)
        yield row('difference of two studies, missed', np.abs(values[:,1]-values[:,0]) > half, ERROR if isinstance(n, int) else None, **cell)

# ---- the best arm

TRUTHS = dict(equal=lambda k: np.zeros(k), ahead=lambda k: -.5*SD*(np.arange(k) > 0), ladder=lambda k: -.3*SD*np.arange(k))

def reaches(x, paired):
    "Means, and the reach of the one-sided bound of every two arms, (studies, k, k)"
    studies, k, n = x.shape
    centred = x-x.mean(-1, keepdims=True)
    shared = np.einsum('sin,sjn->sij', centred, centred)/(n-1)
    own = np.diagonal(shared, axis1=1, axis2=2)
    if paired: variance, df = (own[:,:,None]+own[:,None]-2*shared)/n, n-1
    else:
        one, two = own[:,:,None]/n, own[:,None]/n
        variance, df = one+two, (one+two)**2/((one**2+two**2)/(n-1))
        df = (df + n-1)/2
    return x.mean(-1), np.sqrt(np.maximum(variance, 0))*t.ppf(1-ALPHA/(k-1), df)

def constrained(means, reach):
    "Bounds of each arm minus the best of the others, and which may be the best: one arm after the other, as Hsu writes it"
    k = means.shape[1]
    gap = means[:,:,None]-means[:,None]
    upper = np.stack([np.delete((gap+reach)[:,i], i, 1).min(1) for i in range(k)], 1)
    kept = upper >= 0
    low = np.zeros_like(means)
    for i in range(k):
        rivals = np.delete(np.where(kept, (gap-reach)[:,i], np.inf), i, 1)
        low[:,i] = np.minimum(0, rivals.min(1))
    return low, np.maximum(0, upper), kept

def check_best(x, bounds, paired, n=10):
    "The first studies have the bounds of the public function"
    for i,study in enumerate(x[:n]):
        arms = {f'arm {j}': o for j,o in enumerate(study)}
        if not paired: arms = {a: [dict(acc=o, seed=1000*j+s) for s,o in enumerate(arms[a])] for j,a in enumerate(arms)}
        found = {o['arm']: o for o in best(arms).arms}
        for j in range(len(study)):
            o = found[f'arm {j}']
            if not np.allclose([o['low'], o['high']], [bounds[0][i,j], bounds[1][i,j]], atol=1e-9): raise AssertionError(f'{o} there, {bounds[0][i,j], bounds[1][i,j]} here')

def best_arm(k):
    "The best arm left out, an interval that misses, and the winner's accuracy outside its interval"
    for arms,n,truth,correlation in product((3, 5, 8), (5, 10, 20), TRUTHS, (.5, None)):
        for spread in (1, 3):
            cell = dict(k=arms, n=n, truth=truth, correlation=correlation, spread=spread)
            rng, paired, true = generator('best', cell), correlation is not None, TRUTHS[truth](arms)
            shared = correlation or 0
            z = np.sqrt(shared)*rng.standard_normal((int(STUDIES*k), 1, n)) + np.sqrt(1-shared)*rng.standard_normal((int(STUDIES*k), arms, n))
            z[:,0] *= spread # the best arm
            x = MEAN + true[:,None] + SD*z
            means, reach = reaches(x, paired)
            low, high, kept = constrained(means, reach)
            check_best(x, (low, high), paired)
            gap = true-np.array([np.delete(true, i).max() for i in range(arms)])
            yield row('best arm left out', ~kept[:,0], ERROR, **cell, mean_size=round(float(kept.sum(1).mean()), 2))
            yield row('an arm minus the best of the others, any missed', ((gap < low-1e-12) | (gap > high+1e-12)).any(1), ERROR, **cell)
            yield row("winner's accuracy outside its interval", winner_missed(x, means, true), ERROR, **cell)

def unequal_seeds(k):
    "The best arm, with other seeds than its rivals and no more accurate than they are, left out"
    for arms,(of_best,of_rivals),spread in product((3, 5, 8), ((20, 5), (10, 5), (5, 20), (5, 5)), (1/3, 1, 3)):
        cell = dict(k=arms, n=(of_best, of_rivals), rivals=round(spread, 2))
        rng, size = generator('unequal', cell), int(STUDIES*k)
        best_arm = MEAN + SD*rng.standard_normal((size, of_best))
        rivals = MEAN + SD*spread*rng.standard_normal((size, arms-1, of_rivals))
        one, two = best_arm.var(1, ddof=1)[:,None]/of_best, rivals.var(2, ddof=1)/of_rivals
        welch = (one+two)**2/(one**2/(of_best-1)+two**2/(of_rivals-1))
        behind = (rivals.mean(2)-best_arm.mean(1)[:,None])/np.sqrt(one+two)
        def left_out(df): return (behind > t.ppf(1-ALPHA/(arms-1), df)).any(1)
        gone = left_out((welch + min(of_best, of_rivals)-1)/2)
        check_left_out(best_arm, rivals, gone)
        yield row('best arm left out', gone, ERROR, **cell)
        yield row("best arm left out by Welch's degrees of freedom", left_out(welch), **cell)

def check_left_out(best_arm, rivals, gone, n=10):
    "The public function leaves it out where it is left out here"
    for at in [*range(n), *np.flatnonzero(gone)[:n]]:
        arms = {f'arm {j}': [dict(acc=o, seed=1000*j+s) for s,o in enumerate(x)] for j,x in enumerate((best_arm[at], *rivals[at]))}
        if ('arm 0' not in best(arms).among_best) != gone[at]: raise AssertionError(f'{gone[at]} here, and not there')

def winner_missed(x, means, true):
    "The picked arm's true mean lies outside its interval over all arms"
    at, k, n = means.argmax(1), x.shape[1], x.shape[2]
    picked = x[np.arange(len(x)), at]
    half = picked.std(1, ddof=1)/np.sqrt(n)*t.ppf(1-ALPHA/k/2, n-1)
    return np.abs(picked.mean(1)-MEAN-true[at]) > half

SECTIONS = {f.__name__: f for f in (pooled, unlike_studies, skewed_studies, two_studies, apart, best_arm, unequal_seeds)}

def main(k=1.):
    rows = []
    for name,section in SECTIONS.items():
        began = time.process_time()
        for r in section(k):
            rows.append(r)
            if not r['ok']: print('FAIL', r, flush=True)
        print(f'{name}: {time.process_time()-began:.0f} s of processor', flush=True)
    for what in dict.fromkeys(r['what'] for r in rows):
        values = [r['value'] for r in rows if r['what'] == what]
        print(f'{what}: {min(values)} to {max(values)} in {len(values)} cells')
    return rows

if __name__ == '__main__':
    size = float(sys.argv[1]) if len(sys.argv) > 1 else 1.
    rows = main(size)
    if size >= 1: save('questions', rows, 'numpy', 'scipy', ok=all(r['ok'] for r in rows))
    sys.exit(not all(r['ok'] for r in rows))
