"The one rule, on thousands of random families of every kind: the answer is what the interval says, and nothing else contradicts it"
import math, re, sys
from dataclasses import replace
from functools import partial
from itertools import product
from types import SimpleNamespace
import numpy as np, pandas as pd, pytest
from scipy import stats
from conftest import ROOT
from simpleattn.plan import Plan, detectable, equivalence_power, power, race_path, runs_needed, runs_needed_equivalence
from simpleattn import words
from simpleattn.questions import pool
from simpleattn.stats import compare, compare_many, compare_summary

sys.path.insert(0, str(ROOT/'benchmarks'))
import calibration as many # studies drawn and judged by the ten thousand

# ---- random families

def drawn(rng, arms=None, n=None):
    "Accuracies of some arms, (arms, n), and what is declared: noise, correlation, gains, margin and alpha of many sizes"
    arms, n = arms or rng.integers(2, 6), n or rng.integers(3, 14)
    sd, delta = 10**rng.uniform(-3.3, -1.8), 10**rng.uniform(-2.7, -1.5)
    gains = rng.choice([0, .5, 1, 2, -.5, -1, -2], arms)*delta + rng.choice([0, 1, -1], arms)*sd
    noise = rng.standard_normal if rng.random() < .5 else partial(rng.standard_t, 4)
    shared = rng.choice([0, .5, .95])
    x = .7 + gains[:,None] + sd*rng.uniform(.5, 2)*((1-shared)*noise(size=(arms, n)) + shared*noise(size=n))
    if rng.random() < .5: x = (x*2000).round()/2000
    return x.clip(0, 1), dict(delta=float(delta), alpha=float(rng.choice([.01, .05, .1])))

NAMES = ['baseline', *'abcdefgh']
def named(x): return dict(zip(NAMES, x))

def paired(rng): x, declared = drawn(rng); return dict(runs=named(x), **declared)
def sequence(rng): x, declared = drawn(rng, n=rng.integers(4, 40)); return dict(runs=named(x), sequential=True, **declared)

def not_worse(rng):
    x, declared = drawn(rng)
    return dict(runs=named(x), contrasts=[('baseline', 'a', 'noninferior'), ('a', 'baseline', 'noninferior')], **declared)

def heaps(rng):
    x, declared = drawn(rng)
    return dict(runs=named(o[:rng.integers(2, len(o)+1)] for o in x), paired=False, **declared)

def summaries(rng):
    x, declared = drawn(rng, 2)
    return dict(summary=[f for o in x for f in (o.mean(), max(o.std(ddof=1), 1e-4), len(o))], **declared)

def gains_of_gains(rng):
    x, declared = drawn(rng, 4)
    return dict(runs=dict(zip('wxyz', x)), baseline=None, contrasts=['wxyz', 'wyxz'], **declared)

def bits(rng):
    "Which of some images each run of three arms got right"
    n, images = rng.integers(3, 9), rng.integers(30, 300)
    easy = rng.beta(4, 1, images) + rng.normal(0, rng.choice([0, .05, .2]), (3, images)) + rng.choice([0, .1], (3, 1))
    return rng.random((3, n, images)) < easy[:,None].clip(.02, .98)

def new_images(rng, **how):
    _, declared = drawn(rng)
    declared['delta'] *= 10 # so few images show no small one
    if not how and rng.random() < .3: how = dict(paired=False)
    rows = [dict(arm=a, seed=i, acc=o.mean(), correct=o, n_images=len(o)) for a,arm in zip(NAMES, bits(rng)) for i,o in enumerate(arm)]
    return dict(runs=pd.DataFrame(rows), **declared, **how)

def new_images_in_a_race(rng): return new_images(rng, sequential=True)

def diverged(rng, **how):
    x, declared = drawn(rng, n=rng.integers(4, 20))
    lost = rng.random(x.shape) < rng.choice([.05, .2, .5], len(x))[:,None]
    def row(arm, i, acc, gone): return dict(arm=arm, seed=i, acc=None if gone else acc, status='diverged' if gone else 'ok')
    rows = [row(a, i, *o) for a,arm,gone in zip(NAMES, x, lost) for i,o in enumerate(zip(arm, gone))]
    return dict(runs=pd.DataFrame(rows), **declared, **how)

def diverged_heaps(rng): return diverged(rng, paired=False)
def diverged_in_a_race(rng): return diverged(rng, sequential=True)

KINDS = (paired, heaps, summaries, gains_of_gains, new_images, sequence, new_images_in_a_race, not_worse, diverged, diverged_heaps, diverged_in_a_race)

def answered(asked):
    "Comparisons, none where nothing is left to compare"
    if 'summary' in asked: return [compare_summary(*asked['summary'], asked['delta'], asked['alpha'])]
    try: family = compare_many(**asked)
    except ValueError: return []
    assert all(c.family == len(family) for c in family), 'whatever is declared counts'
    return [c for c in family if c.verdict != 'not comparable']

# ---- the rule, written down a second time

def by_eye(low, high, delta, not_worse_asked):
    "What a reader sees on the picture of an interval with its margin"
    if low is None: return 'undecided'
    crosses = [low <= 0 <= high, low <= -delta, high >= delta] # zero, and either end of the margin
    if not crosses[0]: return 'better' if low > 0 else 'worse'
    if not crosses[1] and not crosses[2]: return 'equivalent'
    return 'not worse' if not_worse_asked and not crosses[1] else 'undecided'

def says_what_its_interval_says(c):
    level, asked = c.alpha/c.family, c.goal == 'noninferior'
    if c.worse_over_all_seeds: assert c.any_diverged and c.worst_rank_sign < 0 and (1 if c.p is None else 5)*c.p_worst_rank < level and c.verdict == 'worse' and c.new_verdict is None
    else: assert c.verdict == by_eye(c.low, c.high, c.delta, asked)
    decided = c.verdict != 'undecided'
    assert decided == (c.p_verdict is not None and c.p_verdict < c.alpha) and not (decided and c.next)
    if c.low is None: return
    assert c.low <= c.diff <= c.high and (c.sequential or (c.p < level) == (not c.low <= 0 <= c.high))
    if not c.sequential: np.testing.assert_allclose([c.low, c.high], stats.t.interval(1-level, c.df, c.diff, c.se), rtol=1e-9)
    if not c.worse_over_all_seeds: says_so_in_words(c)
    if c.new_low is None: return
    assert c.new_high-c.new_low >= (c.high-c.low)*(1-1e-12) and c.new_df >= c.n-1
    if not c.worse_over_all_seeds: assert c.new_verdict == by_eye(c.new_low, c.new_high, c.delta, asked)

def stands_down_to_its_p(c):
    "`p_verdict` is the smallest alpha at which the answer would still stand"
    if c.p_verdict is None or c.p_verdict < 1e-10: return
    def said(alpha): return replace(c, alpha=alpha).verdict == c.verdict
    assert said(c.p_verdict*1.0001) and not said(c.p_verdict*.9999)

def says_so_in_words(c):
    words = c.verdict_words
    assert words.startswith(c.verdict)
    assert ('by more than' in words) == (c.low > c.delta or c.high < -c.delta)
    assert ('though by less' in words) == (0 < c.low and c.high < c.delta or -c.delta < c.low and c.high < 0)
    if c.verdict == 'equivalent':
        said = float(re.search(r'nothing beyond ([\d.]+) pp', words)[1])
        assert abs(said-100*max(-c.low, c.high)) < .0051 and said != 100*c.delta
    if c.verdict != 'undecided': assert ('when it trains' in words) == c.any_diverged

@pytest.mark.parametrize('kind', KINDS, ids=lambda f: f.__name__)
def test_the_answer_is_what_the_interval_says(kind):
    rng, said = np.random.default_rng([*kind.__name__.encode()]), set()
    for _ in range(300):
        for c in answered(kind(rng)):
            says_what_its_interval_says(c)
            stands_down_to_its_p(c)
            said.add(c.verdict)
    wanted = {'better', 'worse', 'equivalent', 'undecided'} | ({'not worse'} if kind is not_worse else set())
    assert said >= wanted, 'every answer was met'

# ---- what is printed says what was decided

SAID = re.compile(r'([+-]?[\d.]+) \(([+-][\d.]+) to ([+-][\d.]+)\)')

def seems(text, c, verdict):
    "A gain and its bounds as they are printed tell the same verdict, and the gain lies between them"
    gain, low, high = map(float, SAID.search(text).groups())
    assert low <= gain <= high, text
    assert by_eye(low/100, high/100, c.delta, c.goal == 'noninferior') == verdict, text

def near(rng):
    "A comparison of which a bound lies close to 0 or to the margin, or whose p lies close to alpha"
    delta, half = float(rng.choice([.005, .01, .0107])), 10**rng.uniform(-5, -1.5)
    close = rng.choice([0, delta, -delta]) + rng.choice([-1, 1])*10**rng.uniform(-7, -3)
    diff = close + rng.choice([-1, 1])*half
    se = half/stats.t.ppf(.975, 2*20-2)
    sd = max(se*math.sqrt(10), 1e-9)
    return compare_summary(.5, sd, 20, .5+diff, sd, 20, delta)

def test_a_printed_interval_and_p_say_what_was_decided():
    "However close to 0, to the margin or to alpha, in a row, in a sentence and among studies that are pooled"
    rng = np.random.default_rng(5)
    for _ in range(500):
        c, other = near(rng), near(rng)
        head, (row,) = words.summary_rows([('x', c)])
        seems(row[2], c, c.verdict)
        if c.p_verdict is not None and not row[4].startswith('<'): assert float(row[4]) < c.alpha, row
        said = re.search(r'; p = ([\d.]+) of no difference', c.sentence())
        if said: assert (float(said[1]) < .05) == (c.verdict in ('better', 'worse')), c.sentence()
        two = pool(dict(one=c, other=replace(other, delta=c.delta)))
        _, rows = words.pool_rows(two)
        for line,told in zip(rows, two.of_studies): seems(line[2], c, told['answer'])
        seems(rows[2][2], c, two.answer)

def test_a_control_seems_to_hold_0_only_where_it_does():
    c = SimpleNamespace(arm='b', baseline='a', why=None, n=8, n_variant=5, n_baseline=5, diff=.002, low=1e-6, high=.00399, p=.04999, verdict='undecided',
        alpha=.05, level=.05, family=1, delta=.01, verdict_words='better')
    control = SimpleNamespace(sensitivity=c, handicap='epochs', found=True, sequence=None)
    for said in (words.null_words(c, None, False), words.sensitivity_words(control)):
        assert '(+0.0001 pp to +0.40 pp), p = 0.04999' in said
    far = SimpleNamespace(**vars(c) | dict(low=0., p=1.))
    assert '(+0.00 pp to +0.40 pp), p = 1.0000' in words.null_words(far, None, False)

# ---- properties

SWAPPED = {'better':'worse', 'worse':'better'}
NEGATED = ('diff','diff'), ('low','high'), ('high','low'), ('new_low','new_high'), ('new_high','new_low'), ('t','t'), ('d_z','d_z'), ('hedges_g','hedges_g')
KEPT = 'p p_verdict df se new_df sd_diff corr p_signflip tost_p'.split()

def same(said, expected):
    "Equal to 1e-9, or both None"
    assert [o is None for o in said] == [o is None for o in expected]
    there = [(a, b) for a,b in zip(said, expected) if a is not None]
    np.testing.assert_allclose(*zip(*there), rtol=1e-9, atol=1e-12)

@pytest.mark.parametrize('how', [{}, dict(paired=False), dict(sequential=True)], ids=str)
def test_swapped_arms_negate(how):
    rng = np.random.default_rng(1)
    for _ in range(200):
        b, v = bits(rng)[:2]
        declared = drawn(rng)[1] | how
        one = compare(b.mean(1), v.mean(1), correct=(b, v), **declared)
        other = compare(v.mean(1), b.mean(1), correct=(v, b), **declared)
        assert (SWAPPED.get(one.verdict, one.verdict), SWAPPED.get(one.new_verdict, one.new_verdict)) == (other.verdict, other.new_verdict)
        same([getattr(one, k) for k,_ in NEGATED], [None if (o := getattr(other, k)) is None else -o for _,k in NEGATED])
        same([getattr(one, k) for k in KEPT], [getattr(other, k) for k in KEPT])

def numbers(c): return [v for v in c.to_dict().values() if isinstance(v, float) or v is None]

@pytest.mark.parametrize('kind', [paired, heaps, new_images, diverged, diverged_heaps, sequence, new_images_in_a_race, diverged_in_a_race], ids=lambda f: f.__name__)
def test_the_order_of_runs_does_not_matter(kind):
    "In a race neither: a table declares no order, so its seeds count from the lowest on"
    rng = np.random.default_rng(2)
    for _ in range(60):
        asked = kind(rng)
        runs = asked['runs']
        if isinstance(runs, dict): runs = pd.DataFrame([dict(arm=a, seed=i, acc=acc) for a,arm in runs.items() for i,acc in enumerate(arm)])
        shuffled = {c.arm: c for c in answered(asked | dict(runs=runs.sample(frac=1, random_state=0)))}
        for c in answered(asked | dict(runs=runs)):
            other = shuffled[c.arm]
            assert (c.verdict, c.new_verdict) == (other.verdict, other.new_verdict)
            same(numbers(c), numbers(other))

def test_another_declared_arm_never_narrows_an_interval():
    rng = np.random.default_rng(3)
    for _ in range(300):
        x, declared = drawn(rng, 4)
        how = dict(paired=bool(rng.random() < .5)) | declared
        few = compare_many(named(x[:3]), **how)
        for more in (named(x), named(x[:3]) | {'c':[dict(seed=0, acc=.7)]}): # with runs enough, or not
            more = compare_many({k: o if isinstance(o, list) else [dict(seed=i, acc=a) for i,a in enumerate(o)] for k,o in more.items()}, **how)
            assert more.family == 3 and all(c.low is None or more[c.arm].low <= c.low and c.high <= more[c.arm].high for c in few)
        for one,two in zip(race_path(x[1]-x[0], k=2), race_path(x[1]-x[0], k=3)):
            assert one.n == two.n and (two.low is None or two.low <= one.low and one.high <= two.high)

# ---- plans

def designs():
    rng = np.random.default_rng(4)
    for i in range(60):
        yield dict(effect=float(10**rng.uniform(-2.5, -1.5)), sd=float(10**rng.uniform(-2.5, -1.8)), alpha=float(rng.choice([.05, .0125, .1])),
            paired=bool(i%2), target=float(rng.choice([.5, .8, .95])))

def test_a_plan_at_its_own_n_has_its_own_power():
    for design in designs():
        effect, target = design.pop('effect'), design.pop('target')
        for grown in (False, True)[:1+design['paired']]:
            for needed,chance in ((runs_needed, power), (runs_needed_equivalence, equivalence_power)):
                n = needed(effect, target=target, grown=grown, **design)
                assert chance(n, effect, grown=grown, **design) >= target
                assert n == 2 or chance(n-1, effect, grown=grown, **design) < target
        found = detectable(n, target=target, **design)
        assert power(n, found, **design) == pytest.approx(target, abs=1e-6)

@pytest.mark.parametrize('variants,paired,sd', [(1,True,.01), (1,True,.02), (4,True,.01), (1,False,.01), (4,False,.006)])
def test_what_a_plan_promises_comes_true(variants, paired, sd):
    "Better at the effect; at 0 equivalent, which is an interval inside the margin that holds 0: by twenty thousand studies at its n"
    p = Plan(10, sd, .01, .01, .05, variants, paired=paired)
    bounds = many.of_pairs if paired else many.of_heaps
    def studies(n, gain):
        x = many.draw(many.generator(variants, paired, sd, gain), 20_000, n, correlation=.5 if paired else 0., sd=sd, gain=gain)
        return bounds(x, .05/variants)
    low, _ = studies(p.runs_needed, .01)
    found = power(p.runs_needed, .01, sd, .05/variants, paired)
    assert .8 <= found < .9 and (low > 0).mean() == pytest.approx(found, abs=.012)
    low, high = studies(p.runs_equivalence, 0.)
    found = p.power_equivalent(p.runs_equivalence)
    assert .8 <= found < .9 and ((-.01 < low) & (low <= 0) & (0 <= high) & (high < .01)).mean() == pytest.approx(found, abs=.012)

@pytest.mark.parametrize('paired', [True, False])
@pytest.mark.parametrize('alpha', [.01, .05, .1, .15, .2, .3])
def test_a_plan_counts_answers(alpha, paired):
    "At its n an answer has the power that was asked for, and not at one less; where no number of seeds has it, none is named"
    for target,variants,sd in product((.5, .8, .9, .95, .99), (1, 3), (.004, .01, .02)):
        p = Plan(10, sd, .01, .01, alpha, variants, target=target, paired=paired)
        for n,chance in ((p.runs_needed, p.power_better), (p.runs_equivalence, p.power_equivalent)):
            if n is None: continue
            assert chance(n) >= target and (n == 2 or chance(n-1) < target)
        assert (p.runs_equivalence is None) == (target >= 1-alpha/variants) and p.runs_needed is not None
        if p.runs_equivalence is None: assert 'no number of seeds' in p.words and 'million' not in p.words

def test_a_study_at_an_unusual_alpha_names_seeds_that_have_the_power():
    x = .6 + .01*np.random.default_rng(5).standard_normal((2, 6))
    for alpha in (.15, .19, .25):
        c = compare(*x, alpha=alpha, delta=.004)
        n = c.next['equivalent'][0]
        assert c.plan.power_equivalent(n) >= .8 if alpha < .2 else n is None and 'equivalent with no number of' in c.sentence()
