"""Error rates of the answers, by simulation: `python benchmarks/calibration.py [SHARE [SECTION ...]]`

Studies are drawn so that the truth is known, and the share of wrong (or right) answers is held against the bound that the project promises. All studies of a
cell are judged at once by the arithmetic below, and some of them by the public functions too: one other answer stops the run. A row without a bound is a
limit: it is recorded here, and stated in the notebook of the statistics. SHARE (default 1) scales the number of studies; only whole
ones are written to benchmarks/records/calibration.json, those of a section in the place of its rows."""
import csv, json, math, sys, time
from functools import cache
from importlib.resources import files
from itertools import product
import numpy as np
from scipy import special as sp, stats
from common import RECORDS, save
from simpleattn.plan import half_width, race_seeds, runs_needed, runs_needed_equivalence
from simpleattn.stats import compare, compare_many

MEAN, SD, M = 0.85, 0.0075, 3925
DELTA, ALPHA = 0.01, 0.05
SEEDS = 3, 5, 10, 20
ERROR, EQUIVALENT, RACE, NEW_IMAGES, PILOTS = '<=0.055', '<=0.03', '<=0.035', '<=0.07', '>=0.75'
NAMES = ['baseline', *'abcdefgh']

# ---- studies

NOISE = dict(normal=lambda rng, size: rng.standard_normal(size), t4=lambda rng, size: rng.standard_t(4, size)/math.sqrt(2),
    skewed=lambda rng, size: rng.standard_exponential(size)-1)

def draw(rng, studies, n, variants=1, correlation=0., noise='normal', spread=1., images=None, sd=SD, gain=0.):
    "Studies x (baseline and variants) x n accuracies: a variant is correlated with the baseline, has `spread` times its sd, and gains `gain`"
    z = NOISE[noise](rng, (studies, variants+1, n))
    z[:,1:] = spread*(correlation*z[:,:1] + math.sqrt(1-correlation**2)*z[:,1:])
    x = MEAN + sd*z
    x[:,1:] += gain
    x = np.clip(x, 0, 1)
    return (x*images).round()/images if images else x

def diverge(rng, x, rate=0.2):
    "The same, with NaN where a run diverged; every arm at one rate"
    return np.where(rng.random(x.shape) < rate, np.nan, x)

def generator(*cell): return np.random.default_rng([*repr(cell).encode()])

# ---- the rule, for many studies at once

def t_bounds(mean, se, df, alpha=ALPHA):
    "Bounds of t intervals; infinite where nothing varies"
    half = np.where(se > 1e-10, se*sp.stdtrit(np.maximum(df, 1), 1-alpha/2), np.inf)
    return mean-half, mean+half

def answers(low, high, delta=DELTA):
    "What each interval says"
    says = [low > 0, high < 0, (-delta < low) & (high < delta)]
    return np.select(says, ['better', 'worse', 'equivalent'], 'undecided')

def named(said): return (said == 'better') | (said == 'worse')

def moments(d):
    "n, mean and sd over the last axis, of what is not NaN; 0 where there is too little"
    known = ~np.isnan(d)
    n = known.sum(-1)
    mean = np.where(known, d, 0).sum(-1)/np.maximum(n, 1)
    squares = np.where(known, d-mean[...,None], 0)**2
    return n, mean, np.sqrt(squares.sum(-1)/np.maximum(n-1, 1))

def of_pairs(x, alpha=ALPHA):
    "Bounds of every variant minus the baseline, by pairs of which both trained"
    n, mean, sd = moments(x[:,1:]-x[:,:1])
    return t_bounds(mean, sd/np.sqrt(np.maximum(n, 1)), n-1, alpha)

def welch(before, after):
    "Difference, standard error and degrees of freedom of two heaps of runs, along the last axis"
    n, m = before.shape[-1], after.shape[-1]
    one, two = before.var(-1, ddof=1)/n, after.var(-1, ddof=1)/m
    df = (one+two)**2/np.maximum(one**2/(n-1) + two**2/(m-1), 1e-300)
    return after.mean(-1)-before.mean(-1), np.sqrt(one+two), df

def of_heaps(x, alpha=ALPHA): return t_bounds(*welch(x[:,:1], x[:,1:]), alpha)

@cache
def rank_tails(n, ties):
    "Chance that the sum of n signed ranks (doubled), of which the largest `ties` are tied, is as far from 0: one for each sum"
    ranks = [*range(2, 2*(n-ties)+1, 2), *[2*n-ties+1]*ties]
    chance = np.ones(1)
    for rank in ranks: chance = (np.pad(chance, (0, rank)) + np.pad(chance, (rank, 0)))/2
    distance = abs(2*np.arange(len(chance))-sum(ranks))
    return np.array([chance[distance >= o].sum() for o in range(sum(ranks)+1)])

def of_two_questions(p, trained):
    "The p over all seeds counts five times, unless too few runs trained for an interval beside it"
    return np.where(trained < 2, p, 5*p)

def with_diverged(x, alpha=ALPHA):
    "Answers where runs diverged, of continuous accuracies: by completers, and `worse` where all seeds say so at their share of alpha"
    lost = np.isnan(x).astype(float)
    d = np.where(lost[:,1:]+lost[:,:1] > 0, lost[:,:1]-lost[:,1:], x[:,1:]-x[:,:1])
    size = np.abs(d)
    ties, n = (size == 1).sum(-1), (size > 0).sum(-1)
    place = size.argsort(-1).argsort(-1)+1 - (size == 0).sum(-1)[...,None]
    ranks = np.where(size == 1, (2*n-ties+1)[...,None], 2*place)
    total = (np.sign(d)*ranks).sum(-1).astype(int)
    p = [rank_tails(*o)[abs(t)] for *o,t in zip(n.flat, ties.flat, total.flat)]
    trained = (lost[:,1:]+lost[:,:1] == 0).sum(-1)
    behind = (total < 0) & (of_two_questions(np.reshape(p, total.shape), trained) < alpha) & (lost[:,1:]+lost[:,:1]).any(-1)
    return np.where(behind, 'worse', answers(*of_pairs(x, alpha)))

def heaps_with_diverged(x, alpha=ALPHA):
    "The same without pairs, of two arms: Welch's interval of those that trained, and the ranks of all"
    lost = np.isnan(x)
    n, mean, sd = moments(x)
    variance, df = sd**2/np.maximum(n, 1), np.maximum(n-1, 1)
    both = np.where((n > 1).all(1), variance.sum(1), 0)
    low, high = t_bounds(mean[:,1]-mean[:,0], np.sqrt(both), both**2/np.maximum((variance**2/df).sum(1), 1e-300), alpha)
    ranked, tied = np.where(lost, -1, x), lost.sum((1, 2)) > 1 # the test takes another form where there are ties
    u, p = np.empty(len(x)), np.empty(len(x))
    for part in (tied, ~tied):
        if part.any(): u[part], p[part] = stats.mannwhitneyu(ranked[part,1], ranked[part,0], axis=-1)
    behind = (u < x.shape[-1]**2/2) & (of_two_questions(p, n.min(1)) < alpha) & lost.any((1, 2))
    return np.where(behind, 'worse', answers(low, high))[:,None]

def race(before, after, delta=DELTA, alpha=ALPHA):
    "Answer of each race of (studies, n) accuracies, and the seed at which it fell (n where none did)"
    d = after-before
    trained = ~np.isnan(d)
    n, d = trained.cumsum(1), np.where(trained, d, 0)
    some = np.maximum(n, 2)
    mean = d.cumsum(1)/np.maximum(n, 1)
    sd = np.sqrt(np.maximum((d*d).cumsum(1)-n*mean*mean, 0)/(some-1))
    half = np.where(n > 1, half_width(some, np.where(sd < 1e-9, 0, sd), alpha), np.inf)
    said = answers(mean-half, mean+half, delta)
    if not trained.all(): said = np.where(behind_in_race(before, after, ~trained, alpha), 'worse', said)
    decided = said != 'undecided'
    at = np.where(decided.any(1), decided.argmax(1), d.shape[1]-1)
    return said[np.arange(len(said)), at], at+1

def behind_in_race(before, after, lost, alpha):
    "After each seed: do all seeds, a diverged run ranked worst, say worse?"
    before, after = np.nan_to_num([before, after], nan=-1)
    won, fell = (after > before).cumsum(1), (before > after).cumsum(1)
    evidence = np.maximum.accumulate((won+fell)*math.log(2) + sp.betaln(won+1, fell+1), axis=1)
    return (won < fell) & (5*np.exp(-evidence) < alpha) & lost.cumsum(1).astype(bool)

def races(x, alpha, delta=1e-5):
    "Answers and seeds, (studies, variants) each"
    each = [race(x[:,0], x[:,j], delta, alpha) for j in range(1, x.shape[1])]
    return [np.stack(o, 1) for o in zip(*each)]

# ---- the same by the public functions

def in_public(x, images=None, paired=None):
    "Answers to one study of arms x n accuracies, NaN where a run diverged; `undecided` where nothing is left to compare"
    def runs(arm): return [dict(seed=i, acc=o, status='diverged' if math.isnan(o) else 'ok') for i,o in enumerate(arm)]
    arms = dict(zip(NAMES, map(runs, x.tolist()) if np.isnan(x).any() else x))
    try: return [c.verdict for c in compare_many(arms, n_images=images, paired=paired)]
    except ValueError: return ['undecided']*(len(x)-1)

def races_in_public(x, alpha=ALPHA, delta=1e-5):
    ended = [race_seeds(x[0], o, delta, alpha, len(x)-1)[-1] for o in x[1:]]
    return [o.verdict for o in ended]

def checked(said, public, x, n=30):
    "`said`, of which the first n are what the public function says too"
    for i,study in enumerate(x[:n]):
        expected = public(study)
        if [*said[i]] != [*expected]: raise AssertionError(f'{public}: {said[i]} here, {expected} there, of {study}')
    return said

def share(hits): return round(float(np.mean(hits)), 4)

def row(what, hits, bound=None, **cell):
    "A share with its bound; None for a limit"
    value = float(np.mean(hits))
    ok = bound is None or (value >= float(bound[2:]) if bound[0] == '>' else value <= float(bound[2:]))
    return dict(what=what, **cell, value=round(value, 4), bound=bound, ok=bool(ok), studies=len(hits))

# ---- sections

CORRELATIONS = -.5, 0, .5, .9, .99

def two_arms(k):
    "No difference: named better or worse, by pairs"
    for n,correlation,noise,spread,images in product(SEEDS, CORRELATIONS, ('normal', 't4'), (1, 3), (400, 4000)):
        cell = dict(n=n, correlation=correlation, noise=noise, spread=spread, images=images)
        x = draw(generator('two arms', cell), int(60_000*k), **cell)
        said = checked(answers(*of_pairs(x)), lambda o: in_public(o, images), x)
        yield row('two arms, error', named(said)[:,0], ERROR, **cell)

def unpaired(k):
    "The same without pairs, by Welch's test"
    for n,noise,spread in product(SEEDS, ('normal', 't4'), (1, 3)):
        cell = dict(n=n, noise=noise, spread=spread)
        x = draw(generator('unpaired', cell), int(100_000*k), **cell)
        said = checked(answers(*of_heaps(x)), lambda o: in_public(o, paired=False), x)
        yield row('two arms, error, unpaired', named(said)[:,0], ERROR, **cell)

def families(k):
    "Variants of which none is better: any named better or worse"
    for n,variants,(correlation,images),noise,spread in product(SEEDS, (2, 4, 8), ((-.5, 400), (.5, 400), (.99, 400), (.99, 4000)), ('normal', 't4'), (1, 3)):
        cell = dict(n=n, variants=variants, correlation=correlation, noise=noise, spread=spread, images=images)
        x = draw(generator('families', cell), int(40_000*k), **cell)
        said = checked(answers(*of_pairs(x, ALPHA/variants)), lambda o: in_public(o, images), x, 12)
        each_at_alpha = named(answers(*of_pairs(x))).any(1)
        yield row('families, error', named(said).any(1), ERROR, **cell, uncorrected=share(each_at_alpha))

def unpaired_families(k):
    "The same without pairs. Where spreads of five runs differ, Welch's degrees of freedom serve less well far out in the tail, at alpha / k: a limit"
    for n,variants,spread in product(SEEDS, (4, 8), (1, 3)):
        cell = dict(n=n, variants=variants, spread=spread)
        x = draw(generator('unpaired families', cell), int(40_000*k), **cell)
        said = checked(answers(*of_heaps(x, ALPHA/variants)), lambda o: in_public(o, paired=False), x, 12)
        yield row('families, error, unpaired', named(said).any(1), None if (n, spread) == (5, 3) else ERROR, **cell)

def equivalence(k):
    "Variants that are worse by exactly the margin: any called equivalent; and not worse, where that was asked"
    for n,variants,correlation,noise,spread in product(SEEDS, (1, 4), (-.5, .5, .99), ('normal', 't4'), (1, 3)):
        cell = dict(n=n, variants=variants, correlation=correlation, noise=noise, spread=spread)
        x = draw(generator('equivalence', cell), int(40_000*k), images=4000, sd=SD/3, gain=-DELTA, **cell)
        low, high = of_pairs(x, ALPHA/variants)
        said = checked(answers(low, high), lambda o: in_public(o, 4000), x, 12)
        yield row('equivalence at the margin, error', (said == 'equivalent').any(1), EQUIVALENT, **cell)
        yield row('not worse at the margin, error', (low > -DELTA).any(1), EQUIVALENT, **cell)

def raced(k):
    "A hundred seeds, looked at after each, and no difference: any named better or worse"
    cells = [(1, o, 0) for o in (-.5, .5, .99)] + [(4, .5, 0), (1, .5, .2), (4, .5, .2)]
    cells = [(*o, *how) for o in cells for how in product(('normal', 't4'), (1, 3))] + [(8, .5, 0, 'normal', 1), (8, .5, .2, 'normal', 1)]
    for variants,correlation,diverged,noise,spread in cells:
        cell = dict(variants=variants, correlation=correlation, noise=noise, spread=spread)
        rng = generator('races', cell, diverged)
        x = draw(rng, int(20_000*k), 100, images=None if diverged else 400, **cell)
        if diverged: x = diverge(rng, x, diverged)
        said = checked(races(x, ALPHA/variants)[0], races_in_public, x, 40)
        yield row('race of 100 seeds, error', named(said).any(1), RACE, diverged=diverged, **cell)

def raced_to_equivalence(k):
    "A race whose variant is worse by exactly the margin, called equivalent; nearly all end in worse"
    for noise,diverged in product(('normal', 't4'), (0, .2)):
        rng = generator('equivalence in races', noise, diverged)
        x = diverge(rng, draw(rng, int(20_000*k), 100, 1, .5, noise, gain=-DELTA), diverged)
        said = checked(races(x, ALPHA, DELTA)[0], lambda o: races_in_public(o, ALPHA, DELTA), x, 40)
        yield row('race at the margin, called equivalent', (said == 'equivalent')[:,0], EQUIVALENT, noise=noise, diverged=diverged)

def race_length(k):
    "What a race costs at an effect of one sd, and what growing a study without it would err"
    x = draw(generator('race length'), int(20_000*k), 30, 1, .5, gain=SD) # the difference of two arms has sd SD at this correlation
    said, at = races(x, ALPHA)
    won = checked(said, races_in_public, x) == 'better'
    yield row('race at an effect of one sd, power within 30 seeds', won[:,0], '>=0.95')
    yield row('race at an effect of one sd, pairs on average', at[:,0], '<=15')
    x = draw(generator('grown'), int(20_000*k), 20, 1, .5)
    looks = [named(answers(*of_pairs(x[...,:n])))[:,0] for n in (5, 12, 20)]
    yield row('study grown from 5 to 12 to 20 seeds, error of the sequence', named(races(x, ALPHA)[0])[:,0], RACE)
    yield row('study grown from 5 to 12 to 20 seeds, error if each time it were taken for fresh', np.any(looks, 0))

def diverged(k):
    "A fifth of the runs of both arms diverges, and there is no difference"
    for n,variants,noise,spread in product(SEEDS, (1, 4), ('normal', 't4'), (1, 3)):
        cell = dict(n=n, variants=variants, noise=noise, spread=spread)
        rng = generator('diverged', cell)
        x = diverge(rng, draw(rng, int(60_000*k), correlation=.5, **cell))
        said = checked(with_diverged(x, ALPHA/variants), in_public, x, 30)
        yield row('a fifth diverged, error', named(said).any(1), ERROR, **cell)

def diverged_unpaired(k):
    "The same without pairs. Of five runs three or four are left, too few for Welch's test where spreads differ: a limit"
    for n,noise,spread in product(SEEDS, ('normal', 't4'), (1, 3)):
        cell = dict(n=n, noise=noise, spread=spread)
        rng = generator('diverged, unpaired', cell)
        x = diverge(rng, draw(rng, int(200_000*k), **cell))
        said = checked(heaps_with_diverged(x), lambda o: in_public(o, paired=False), x)
        yield row('a fifth diverged, error, unpaired', named(said)[:,0], None if (n, spread) == (5, 3) else ERROR, **cell)

# ---- new images

def population(rng, own, images=2**15):
    "Chances (of 256) that both arms are right on an image; every image has a mirror, so that over all of them the arms are equal"
    easy = rng.beta(8, 1.5, images) + rng.normal(0, own, (2, images))
    chance = (256*np.clip(easy, .02, .98)).round().astype(np.int16)
    return np.concatenate([chance, chance[::-1]], 1)

def right(rng, chances, runs, images, luck):
    "Which images two arms get right: 2 x runs x images"
    here = chances[:, rng.integers(0, chances.shape[1], images)][:,None]
    lucky = (256*luck*rng.standard_normal((2, runs, 1))).round().astype(np.int16)
    drawn = np.frombuffer(rng.bytes(2*runs*images), np.uint8).reshape(2, runs, images)
    return drawn < here+lucky

def split(correct):
    "Mean, variance over runs, churn, and variance over images of (runs, images) right or wrong, or of their difference"
    runs, images = correct.shape
    by_run, by_image = correct.sum(1, dtype=int)/images, correct.sum(0, dtype=int)/runs
    within = (np.count_nonzero(correct)-runs*(by_image**2).sum())/(runs-1)/images # squares of -1, 0 and 1
    of_runs = by_run.var(ddof=1)
    return by_run.mean(), of_runs, (within-of_runs)/(images-1), by_image.var(ddof=1)

def satterthwaite(parts):
    "Variance and degrees of freedom of a sum of (variance, df)"
    total = sum(v for v,_ in parts)
    return total, total**2/np.maximum(sum(v*v/df for v,df in parts), 1e-300)

def wider(mean, of_runs, of_images, least, alpha=ALPHA):
    "Bounds over new images, on at least so many degrees of freedom and no narrower than those over seeds, and the images' variance"
    here, df_here = satterthwaite(of_runs)
    both, df = satterthwaite(of_runs+of_images)
    more = sum(v for v,_ in of_images) > 1e-9*np.abs([v for v,_ in of_images]).max(0)
    total, df = np.where(more, both, here), np.where(more, df, df_here)
    low, _ = t_bounds(mean, np.sqrt(total), np.maximum(df, least), alpha)
    low_here, _ = t_bounds(mean, np.sqrt(here), df_here, alpha)
    half = np.where(np.isfinite(low_here), np.maximum(mean-low, mean-low_here), np.inf)
    return mean-half, mean+half, total-here

def new_images(k):
    "Two arms equal over all images, each with its own easy ones: an interval over new images without 0"
    for runs,images,luck in product(SEEDS, (400, 4000), (0., .01)):
        rng, cell = generator('new images', runs, images, luck), dict(n=runs, images=images, seed_sd=luck)
        chances, studies, parts = population(rng, .12), [], []
        for i in range(int(20_000*k)):
            correct = right(rng, chances, runs, images, luck)
            parts.append(each_split(correct))
            if i < 20: studies.append(correct)
        of_d, of_b, of_v = np.moveaxis(np.array(parts), 0, -1) # (4, studies) each
        churn = (runs-1)*(images-1)
        pairs = wider(of_d[0], [(of_d[1]/runs, runs-1)], [(of_d[3]/images, images-1), (-of_d[2]/runs, churn)], runs-1)
        heaps = wider(of_d[0], [(o[1]/runs, runs-1) for o in (of_b, of_v)], [(of_d[3]/images, images-1), (-of_b[2]/runs, churn), (-of_v[2]/runs, churn)], runs-1)
        seeds = half_width(runs, np.sqrt(of_d[1]), ALPHA/2) + np.sqrt(np.maximum(pairs[2], 0))*sp.ndtri(1-ALPHA/4)
        raced = of_d[0]-seeds, of_d[0]+seeds
        for name,bounds,how in (('', pairs, {}), (', unpaired', heaps, dict(paired=False)), (', raced', raced, dict(sequential=True))):
            check_new_images(studies, bounds, how)
            yield row(f'new images, missed{name}', (bounds[0] > 0) | (bounds[1] < 0), NEW_IMAGES, **cell)
        here = t_bounds(of_d[0], np.sqrt(of_d[1]/runs), runs-1)
        yield row('new images, missed by the interval over seeds', named(answers(*here)), **cell)

def each_split(correct):
    "The split of the difference of two arms, and of each"
    return split(correct[1].astype(np.int8)-correct[0]), split(correct[0]), split(correct[1])

def check_new_images(studies, bounds, how):
    "The first studies have the bounds that the public function gives"
    for i,(b,v) in enumerate(studies):
        c = compare(b.mean(1), v.mean(1), n_images=b.shape[1], correct=(b, v), **{'paired':True} | how)
        if c.n < len(b): continue # a race that ended earlier
        here, there = (bounds[0][i], bounds[1][i]), (-np.inf, np.inf) if c.new_low is None else (c.new_low, c.new_high)
        if not np.allclose(here, there, rtol=1e-6): raise AssertionError(f'{how}: {here} here, {there} there')

# ---- plans

def pilots(k):
    "Seeds at the upper end, from a pilot whose variant gains exactly the margin: do they have 80 % power?"
    for n,variants,paired,truth in product((3, 5, 10), (1, 4), (True, False), ('better', 'equivalent')):
        cell = dict(n=n, variants=variants, paired=paired, answer=truth)
        x = draw(generator('pilots', cell), int(20_000*k), n, 1, .5 if paired else 0., gain=DELTA if truth == 'better' else 0.)
        if paired:
            _, mean, sd = moments(x[:,1]-x[:,0])
            se, df = sd/math.sqrt(n), np.full(len(x), n-1.)
        else:
            mean, se, df = welch(x[:,0], x[:,1])
            sd = se*math.sqrt(n/2)
        upper = sd*np.sqrt(df/sp.chdtri(df, .8))
        needed = seeds_for(SD, variants, paired, truth)
        reached = upper > smallest_sd(SD, variants, paired, truth)
        check_pilots(x, reached, needed, variants, paired, truth)
        undecided = answers(*t_bounds(mean, se, df, ALPHA/variants)) == 'undecided'
        yield row('80 % power by the seeds at the upper end', reached, PILOTS, **cell, seeds=needed, of_undecided=share(reached[undecided]))

def seeds_for(sd, variants, paired, truth):
    "Seeds that have 80 % power at the true sd"
    if truth == 'better': return runs_needed(DELTA, sd, alpha=ALPHA/variants, paired=paired, answer=True)
    return runs_needed_equivalence(DELTA, sd, alpha=ALPHA/variants/2, paired=paired, answer=True)

def smallest_sd(sd, variants, paired, truth):
    "The sd from which on a plan names as many seeds as the true sd does"
    needed, low, high = seeds_for(sd, variants, paired, truth), sd/10, sd
    for _ in range(40):
        middle = (low+high)/2
        if seeds_for(middle, variants, paired, truth) >= needed: high = middle
        else: low = middle
    return high

def check_pilots(x, reached, needed, variants, paired, truth, n=30):
    "The first pilots plan as the public functions do"
    for pilot,enough in zip(x[:n], reached):
        others = {o: pilot[0][::-1] for o in NAMES[2:variants+1]} # a family of so many
        c = compare_many(dict(zip(NAMES, pilot)) | others, paired=paired)['a']
        planned = c.plan.runs_needed_upper if truth == 'better' else c.plan.runs_equivalence_upper
        if (planned >= needed) != enough: raise AssertionError(f'{planned} seeds are planned of {needed}, and here that is {enough}')

# ---- limits, and real runs

def limits(k):
    "Where an interval errs more often than it says"
    for n,spread,paired in product(SEEDS, (1, 3), (True, False)):
        x = draw(generator('skewed', n, spread), int(20_000*k), n, 1, 0., 'skewed', spread)
        said = answers(*(of_pairs if paired else of_heaps)(x))
        yield row('skewed noise, error', named(said)[:,0], n=n, spread=spread, paired=paired)
    for n,spread in product((2, 3, 5), (1, 3)):
        rng = generator('few against many', n, spread)
        few, many = MEAN+spread*rng.normal(0, SD, (int(40_000*k), n)), MEAN+rng.normal(0, SD, (int(40_000*k), 20))
        said = answers(*t_bounds(*welch(few, many)))
        checked(said[:,None], lambda o: [compare(*o, paired=False).verdict], [*zip(few, many)])
        yield row('few runs against 20, error', named(said), n=n, spread=spread)
    for n,variants in product(SEEDS, (1, 2, 4, 8)):
        x = draw(generator('one image', n, variants), int(20_000*k), n, variants, .99, images=1000)
        yield row('pairs that differ by about one image, error', named(answers(*of_pairs(x, ALPHA/variants))).any(1), n=n, variants=variants)
    for n in SEEDS: yield from collapsing(n, int(20_000*k))

def collapsing(n, studies, rate=.1, depth=.05):
    "A tenth of the variant's seeds collapses by five points without a word, made up for by the others; and its worst fifth diverges"
    x = draw(generator('collapse', n), studies, n, 1, .5)
    fell = generator('fell', n).random((studies, n)) < rate
    y = np.stack([x[:,0], x[:,1]+np.where(fell, -depth, depth*rate/(1-rate))], 1)
    wrong = named(answers(*of_pairs(y)))[:,0]
    yield row('a tenth of the seeds collapses, named better or worse', wrong, n=n, of_those_where_none_was_seen=share(wrong[~fell.any(1)]))
    lossy = np.stack([x[:,0], np.where(x[:,1] < MEAN-.8416*SD, np.nan, x[:,1])], 1)
    said = checked(with_diverged(lossy), in_public, lossy)
    yield row('the worst fifth diverges, better when it trains', (said == 'better')[:,0], n=n)

def real(k):
    "Random halves of 20 published runs of one arm against each other"
    arms = {}
    for r in csv.DictReader((files('simpleattn')/'published_runs.csv').read_text().splitlines()):
        arms.setdefault(tuple(v for c,v in r.items() if c not in ('run','accuracy')), []).append(float(r['accuracy'])/100)
    arms = [o for o in arms.values() if len(o) == 20]
    rng = generator('real')
    x = rng.permutation([rng.permutation(o).reshape(2, 10) for o in arms for _ in range(max(2, int(600*k)))])
    for name,bounds,how in (('paired t', of_pairs, None), ('Welch t', of_heaps, False)):
        said = checked(answers(*bounds(x)), lambda o: in_public(o, 500, how), x)
        yield row('halves of 20 real runs, error', named(said)[:,0], ERROR, test=name, arms=len(arms))

SECTIONS = {f.__name__: f for f in (two_arms, unpaired, families, unpaired_families, equivalence, raced, raced_to_equivalence, race_length, diverged, diverged_unpaired,
    new_images,
    pilots, limits, real)}

def main(k=1., sections=SECTIONS):
    rows, start = [], time.process_time()
    for name,section in sections.items():
        began = time.process_time()
        for r in section(k):
            rows.append(r)
            said = ', '.join(f'{k} {v}' for k,v in r.items() if k not in ('what','value','bound','ok'))
            print(f"{'ok  ' if r['ok'] else 'FAIL'} {r['value']:8.4f} {r['bound'] or '':>8}  {r['what']}  {said}", flush=True)
        print(f'     {name}: {time.process_time()-began:.0f} s', flush=True)
    print(f'{time.process_time()-start:.0f} s of processor')
    return rows

def with_the_others(rows):
    "The rows of the record with these in the place of their like"
    at, made = RECORDS/'calibration.json', {r['what'] for r in rows}
    old = json.loads(at.read_text())['rows'] if at.is_file() else []
    return [r for r in old if r['what'] not in made] + rows

if __name__ == '__main__':
    size, *names = sys.argv[1:] or ['1']
    rows = main(float(size), {k: SECTIONS[k] for k in names or SECTIONS})
    if float(size) >= 1:
        if names: rows = with_the_others(rows)
        save('calibration', rows, 'numpy', 'scipy', ok=all(r['ok'] for r in rows))
    sys.exit(not all(r['ok'] for r in rows))
