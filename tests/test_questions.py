"Pooled studies and the best of several arms, against independent calculations and cases made by hand"
import csv, importlib.util, json, math, sys
from dataclasses import replace
from importlib.resources import files
import numpy as np, pandas as pd, pytest
from scipy import stats
from conftest import ROOT
from simpleattn import words
from simpleattn.board import board_entries, leaderboard
from simpleattn.cli import main
from simpleattn.recipes import Recipe, load_recipes
from simpleattn.results import compare_results
from simpleattn.runs import find_runs, this_env, write_run
from simpleattn.study import Study, load_study, plan_study
from simpleattn.questions import best, between_studies, pool, pool_arms, to_the_best
from simpleattn.stats import Estimate, Sample, compare, compare_many

BENCH = ROOT/'benchmarks'

def study(rng, gain=.005, n=6, sd=.006, **how):
    "A comparison of two arms on n seeds"
    x = .8 + rng.normal(0, sd, (2, n))
    return compare(x[0], x[1]+gain, **how)

def studies(seed, k, **how):
    rng = np.random.default_rng(seed)
    return [study(rng, rng.normal(.004, .004), **how) for _ in range(k)]

# ---- pooled studies

@pytest.mark.parametrize('k', [3,4,5,9])
def test_the_mean_is_a_one_sample_t_over_studies(k):
    cs = studies(k, k)
    p, t = pool(cs), stats.ttest_1samp([c.diff for c in cs], 0)
    assert (p.diff, p.df)==(pytest.approx(np.mean([c.diff for c in cs])), k-1)
    assert p.interval==pytest.approx((*t.confidence_interval(),))
    if k < 5: assert p.predicted is None
    else:
        half = stats.t.ppf(.975, k-1)*np.std([c.diff for c in cs], ddof=1)*math.sqrt(1+1/k)
        assert p.predicted==pytest.approx((p.diff-half, p.diff+half))
    assert [(o['low'], o['high']) for o in p.of_studies]==[pytest.approx(c.interval) for c in cs]

def test_three_studies_by_hand():
    "Gains of 1, 2 and 3 points: mean 2, se 1/sqrt(3), t of 4.303 on 2 degrees of freedom"
    noise = np.array([-.001, .001, .002, -.002, 0])
    base = np.array([.80, .81, .79, .805, .795])
    p = pool([compare(base+i/50, base+i/50+g+noise) for i,g in enumerate((.01, .02, .03))])
    half = 4.302653/math.sqrt(3)
    assert [100*o for o in (p.diff, *p.interval)]==pytest.approx([2, 2-half, 2+half], abs=1e-5)
    assert p.answer=='undecided' and [o['answer'] for o in p.of_studies]==['better']*3

def test_two_studies_are_their_difference():
    one, two = studies(3, 2, n=8)
    p, t = pool([one, two]), stats.ttest_ind(two.contrast.differences, one.contrast.differences, equal_var=False)
    assert (p.what, p.diff)==('difference', pytest.approx(two.diff-one.diff)) and p.interval==pytest.approx((*t.confidence_interval(),))
    assert p.predicted is None and p.between_sd is None and 'too few for a mean' in p.words

BCG = '''4 119 11 128 6 300 29 274 3 228 11 209 62 13536 248 12619 33 5036 47 5761 180 1361 372 1079 8 2537 10 619
    505 87886 499 87892 29 7470 45 7232 17 1699 65 1600 186 50448 141 27197 5 2493 3 2338 27 16886 29 17825'''

def test_known_variances_give_the_published_profile_interval():
    "The 13 trials of the BCG vaccine: metafor prints a tau² interval of 0.1197 to 1.1115 and the Paule-Mandel estimate 0.3181"
    a, b, c, d = np.array(BCG.split(), float).reshape(-1, 4).T
    ratios, variances = np.log(a/(a+b)/(c/(c+d))), 1/a - 1/(a+b) + 1/c - 1/(c+d)
    sd, interval = between_studies([Estimate(y, math.sqrt(v), 1e9) for y,v in zip(ratios, variances)])
    assert [sd**2, *np.square(interval)]==pytest.approx([.3181, .1197, 1.1115], abs=1e-4)

def test_the_ends_of_the_interval_lie_at_the_quantiles():
    rng = np.random.default_rng(0)
    values, ses, df = rng.normal(0, .02, 6), rng.uniform(.002, .006, 6), 19
    def q(tau):
        w = 1/(ses**2*df/(df-2)+tau**2)
        return (w*(values-np.average(values, weights=w))**2).sum()
    _, (low, high) = between_studies([Estimate(y, s, df) for y,s in zip(values, ses)])
    scale = (df-1)/(df-4)
    assert [q(low), q(high)]==pytest.approx(scale*stats.chi2.ppf([.975, .025], 5/scale), rel=1e-6)
    assert between_studies([Estimate(.01, s, df) for s in ses])==(0, (0, 0))

def test_the_sd_between_studies_waits_for_twenty_seeds():
    assert pool(studies(1, 4, n=19)).between_sd is None
    assert pool([*studies(1, 3, n=20), *studies(2, 1, n=19)]).between_sd is None
    p = pool(studies(1, 4, n=20))
    assert p.between_interval.low <= p.between_sd <= p.between_interval.high
    assert p.to_dict()['between_interval']==[*p.between_interval] and '20 seeds' not in p.words

def arms_of(rng, names='xyz', n=5): return compare_many({a: .8+rng.normal(0, .006, n) for a in ('baseline', *names)})

def test_arms_are_pooled_at_the_level_of_the_largest_family():
    rng = np.random.default_rng(0)
    pooled = pool_arms({'one':arms_of(rng), 'two':arms_of(rng, 'xz'), 'three':arms_of(rng, 'zx')})
    assert [*pooled]==['x','z'] and pooled['x'].family==3
    p = pooled['z']
    assert p.interval==pytest.approx((*stats.t.interval(1-.05/3, 2, p.diff, p.se),))
    with pytest.raises(ValueError, match='no arm in common'): pool_arms({'one':arms_of(rng, 'x'), 'two':arms_of(rng, 'z')})

def test_a_bound_that_is_not_0_does_not_look_like_it():
    "Worse by a hair, on two and on three studies, in the table and in the sentence"
    def pooled(*gains):
        base, noise = np.linspace(.79, .81, 6), np.tile([.0001,-.0001], 3)
        return pool([compare(base+i/90, base+i/90+gain+noise*(i+1)) for i,gain in enumerate(gains)])
    def just_below_0(*gains):
        high, first = pooled(*gains).high+1e-6, len(gains) == 2 # of two, the second minus the first
        return pooled(*gains[:first], *(o-high for o in gains[first:]))
    of_two, of_three = just_below_0(.001, .002), just_below_0(.001, .0011, .0012)
    for p in (of_two, of_three): assert -3e-5 < p.high < 0 and p.answer=='worse'
    for p in (of_two, of_three): assert 'to -0.000' in p.words and 'to -0.000' in p._repr_markdown_()

def test_a_prediction_says_for_which_studies_it_holds():
    assert 'alike in seeds and noise' in pool(studies(1, 5)).words
    values = [r['value'] for r in json.loads((BENCH/'records'/'questions.json').read_text())['rows'] if r['what']=='a further study, outside the prediction']
    assert f'up to {100*max(values):.0f} % instead of 5 %' in pool(studies(1, 5)).words

def test_studies_are_told_from_data_sets():
    cs = studies(0, 3)
    def words(*sets): return pool(cs, sets).words
    assert 'data sets like these' in words('a','b','c') and '3 recipes on one validation set' in words('a','a','a')
    assert '3 recipes on 2 validation sets' in words('a','a','b') and 'not recorded' in pool(cs).words
    def known(c, print_): # from a store, the fingerprint says it
        records = [[dict(arm='x', seed=i, acc=a, fingerprint=print_, recipe=f'recipe-{id(c)}') for i,a in enumerate(o.acc)] for o in c.contrast.trained]
        return compare_many(dict(zip(('baseline','v'), records)))['v']
    assert pool([known(c, p) for c,p in zip(cs, 'aab')]).sets==('a','a','b')

def test_studies_of_one_recipe_are_no_several_recipes():
    def of(recipe, start):
        rng = np.random.default_rng(start)
        def runs(gain): return [dict(seed=start+i, acc=.8+gain+rng.normal(0, .006), fingerprint='a', **(dict(recipe=recipe) if recipe else {})) for i in range(5)]
        return compare_many(dict(baseline=runs(0), v=runs(.01)))['v']
    def words(*recipes): return pool([of(o, 10*i) for i,o in enumerate(recipes)]).words
    assert 'These are 3 studies of one recipe on one validation set: this speaks of studies of this recipe there' in words('r','r','r')
    assert '3 studies of two recipes on one validation set: this speaks of recipes like these there' in words('r','s','r')
    assert 'These are 3 recipes on one validation set' in words('r','s','t')
    assert 'They are two studies of one recipe on one validation set, and not two data sets' in words('r','r') and 'two recipes on one' in words('r','s')

def test_declared_studies_of_one_recipe_are_told_from_recipes(tmp_path, capsys):
    from test_runs import a_run
    recipe, rng = load_recipes()['demo'], np.random.default_rng(0)
    for i,name in enumerate('def'):
        study = Study(name, ['baseline','simple'], range(10*i, 10*i+4), recipe=recipe, root=tmp_path, env=this_env('cpu'))
        study.declare()
        for seed in study.seeds:
            for arm in ('baseline','simple'): write_run(a_run(seed, arm, recipe, acc=.5+rng.normal(0, .02), n_images=1000, correct='', env=study.env), tmp_path)
    rc, o = said(capsys, 'd', 'e', 'f', '--pool', '--root', tmp_path)
    assert rc==0 and '3 studies of one recipe on one validation set' in o.out

def with_bits(rng, n=4):
    "A comparison of runs whose right images are known"
    rows = {a: [dict(seed=i, correct=o, acc=o.mean(), n_images=200) for i,o in enumerate(rng.random((n, 200)) < .8)] for a in ('baseline','v')}
    return rows, compare_many(rows)['v']

def test_gains_that_point_in_two_directions_are_refused():
    one = compare([.62,.644,.602,.632,.618], [.652,.658,.634,.672,.64], names=('plain','attn'))
    other = compare([.3,.35,.31], [.32,.38,.33], names=('attn','plain'))
    with pytest.raises(ValueError, match='gains point in two directions'): pool([one, other])

def test_studies_that_share_runs_are_refused():
    rng = np.random.default_rng(0)
    cs = studies(0, 3)
    def refused(*cs):
        with pytest.raises(ValueError, match='share runs'): pool([*cs])
    refused(cs[0], cs[1], cs[0])
    refused(cs[0], cs[0])
    one, two, three = (o.contrast for o in cs)
    refused(cs[1], compare(two.before.acc[::-1], two.after.acc[::-1])) # in another order
    refused(cs[0], compare(one.before.acc, three.after.acc)) # one baseline for both
    grown = compare(np.r_[one.before.acc, .8, .81], np.r_[one.after.acc, .81, .82])
    refused(cs[0], grown) # a study, and the same with more seeds
    several = arms_of(rng)
    refused(several['x'], several['y'])
    rows, first = with_bits(rng)
    _, second = with_bits(rng)
    pool([first, second])
    once_more = {a: [second_row if i else first_row for i,(first_row,second_row) in enumerate(zip(rows[a], with_bits(rng)[0][a]))] for a in rows}
    refused(first, compare_many(once_more)['v']) # one run of four, told by its bits

def tables(rng, n, shared, digits=4, seeds=True, arms=('baseline','v'), gain=0.):
    "Two comparisons by seed and accuracy alone, of which these arms have so many rows alike"
    def x(): return (.8+rng.normal(0, .006, (2, n))).round(digits)
    one, two = x(), x()+gain
    for i,arm in enumerate(('baseline','v')):
        if arm in arms: two[i,:shared] = one[i,:shared]
    if not seeds: two = np.roll(two, 3, axis=1)
    def of(x): return compare_many({a: [dict(seed=i, acc=o) for i,o in enumerate(row)] for a,row in zip(('baseline','v'), x)})['v']
    return of(one), of(two)

@pytest.mark.parametrize('n,shared,how,where', [(10,10,{},'10 of 10 seeds of baseline'), (4,4,{},'4 of 4 seeds of baseline'), (10,10,dict(arms=['baseline']),'10 of 10 seeds of baseline'),
    (5,5,dict(arms=['v']),'5 of 5 seeds of v'), (20,12,dict(arms=['baseline']),'12 of 20 seeds of baseline'), (8,5,{},'10 of 16 seeds of baseline and v'),
    (12,12,dict(seeds=False),'all 12 accuracies of baseline'), (12,12,dict(seeds=False, arms=['v']),'all 12 accuracies of v'), (4,4,dict(seeds=False),'all 8 accuracies of baseline and v')])
def test_tables_that_share_runs_are_refused(n, shared, how, where):
    for seed in range(5):
        with pytest.raises(ValueError, match=f'share runs, so they are not two studies: {where} '): pool(tables(np.random.default_rng(seed), n, shared, **how))

@pytest.mark.parametrize('n,shared,how,where', [(10,4,dict(arms=['baseline']),'4 of 10 seeds of baseline'), (5,2,dict(arms=['v']),'2 of 5 seeds of v'), (10,4,{},'8 of 20 seeds of baseline and v'),
    (5,5,dict(seeds=False, arms=['baseline']),'all 5 accuracies of baseline are the same in both, in another order')])
def test_a_few_equal_rows_of_tables_are_said(n, shared, how, where):
    p = pool(tables(np.random.default_rng(1), n, shared, **how))
    assert p.notes[0].startswith(f'of study 1 and study 2, {where}') and 'Of study 1 and study 2, ' in p.words and p.to_dict()['notes']==[*p.notes]
    assert 'chance' not in p.words

@pytest.mark.parametrize('n,shared', [(10,1), (10,2), (20,5)])
def test_equal_rows_that_mean_nothing_are_not_said(n, shared): assert pool(tables(np.random.default_rng(1), n, shared)).notes==()

def test_only_like_arms_are_held_against_each_other():
    "The variant of one study has the numbers of the other's baseline: those are other runs"
    cs = [o.contrast for o in studies(0, 2)]
    pool([compare(cs[0].before.acc, cs[0].after.acc), compare(cs[1].before.acc, cs[0].before.acc)])

@pytest.mark.parametrize('digits,n', [(4,5), (4,20), (3,5), (3,20)])
def test_tables_of_runs_of_their_own_are_pooled(digits, n):
    for seed in range(300): pool(tables(np.random.default_rng(seed), n, 0, digits))

COPIES = dict(digits_3=dict(digits=3), digits_4=dict(digits=4), digits_5=dict(digits=5), percent=dict(scale=100, digits=2), full={}, first_ten=dict(seeds=range(10)), first_five=dict(seeds=range(5), digits=4),
    shuffled=dict(shuffle=True), without_seeds=dict(with_seeds=False), without_seeds_shuffled=dict(with_seeds=False, shuffle=True, digits=4),
    shared_baseline=dict(others=.004), shared_baseline_without_seeds=dict(others=.004, with_seeds=False, shuffle=True, digits=4))

@pytest.fixture(scope='module')
def woof(): # arm -> seed -> accuracy
    return {a: {r.seed:r.acc for r in find_runs(ROOT/'runs', 'woof-cpu', a)[0]} for a in ('baseline','self','simple')}

def a_copy(path, woof, digits=10, scale=1, seeds=None, shuffle=False, with_seeds=True, others=None):
    "woof-cpu as a file, written in some other way; `others`: its variants have runs of their own"
    rng, lines = np.random.default_rng(0), ['arm,seed,acc' if with_seeds else 'arm,acc']
    for arm,runs in woof.items():
        rows = [(seed, acc+(rng.normal(0, others) if others and arm != 'baseline' else 0)) for seed,acc in runs.items() if seeds is None or seed in seeds]
        if shuffle: rows = [rows[i] for i in rng.permutation(len(rows))]
        lines += [f"{arm},{f'{seed},' if with_seeds else ''}{scale*acc:.{digits}f}" for seed,acc in rows]
    path.write_text('\n'.join(lines))
    return path

@pytest.mark.parametrize('one', ['woof-cpu','full','digits_3'])
@pytest.mark.parametrize('other', COPIES)
def test_one_study_written_in_two_ways_is_refused(one, other, woof, tmp_path):
    if {one, other} <= {'digits_3','first_ten'} or one == other: other = 'digits_4'
    def answers(name):
        if name == 'woof-cpu': return load_study(name, ROOT/'runs').compare()
        return compare_results(a_copy(tmp_path/f'{name}.csv', woof, **COPIES[name]), percent=name == 'percent')
    first, second = answers(one), answers(other)
    for arm in ('self','simple'):
        with pytest.raises(ValueError, match='share runs.* of .*baseline'): pool([first[arm], second[arm]])

def test_records_without_bits_are_the_runs_that_have_them(woof):
    first = load_study('woof-cpu', ROOT/'runs').compare()['simple']
    sides = [replace(o, correct=[None]*len(o)) for o in (first.contrast.before, first.contrast.after)]
    second = compare_many({o.arm:o for o in sides})
    with pytest.raises(ValueError, match='20 of 20 seeds of .*baseline'): pool([first, *second])

def test_the_export_of_a_study_is_no_second_study(tmp_path, capsys):
    root = ['--root', str(ROOT/'runs')]
    main(['runs', *root, '--recipe', 'woof-cpu', '--fmt', 'csv'])
    (tmp_path/'e.csv').write_text(capsys.readouterr().out)
    rc, o = said(capsys, 'woof-cpu', tmp_path/'e.csv', '--pool', *root)
    assert rc==2 and 'share runs' in o.err and 'seeds of ' in o.err

def test_published_studies_of_two_image_sizes_are_pooled(capsys):
    words = ['--arm','optimiser','--by','dataset','size_px','batch','--where','source=optimiser study on SimpleSelfAttention code 2019-08','--ignore','lr','schedule','run','--percent','--baseline','adam']
    rc, o = said(capsys, files('simpleattn')/'published_runs.csv', *words, '--pool')
    assert rc==0 and 'share runs' not in o.err and 'Over ' in o.out

def test_one_validation_set_is_its_split_wherever_it_lies(tmp_path):
    from test_runs import a_run
    def gain(name, shift, n=3929, split='v2', dataset='imagewoof', **data):
        def runs(gains): return [a_run(seed, recipe=Recipe(name, dataset=dataset, split=split), acc=.8+seed/1000+g, correct='', n_images=n, data=dict(dataset=dataset, source='160', fingerprint='a', n_files=9, n_train=5, n_val=n) | data)
            for seed,g in enumerate(gains)]
        return compare_many({a: Sample.of_runs(a, runs(g)) for a,g in dict(baseline=np.zeros(4), v=np.array([.01, .012, .008, .011])+shift).items()})['v']
    one, two = gain('a', 0), gain('b', .001, source='full', fingerprint='b')
    assert pool([one, two]).sets==('imagewoof v2, 3929 images',)*2 and 'two recipes on one validation set' in pool([one, two]).words
    for other in (gain('c', .001, split='v1'), gain('c', .001, n=3000), gain('c', .001, dataset='imagenette')): assert 'two validation sets' in pool([one, other]).words
    def of_table(shift, print_): # a table that names the data set
        row = dict(dataset='imagewoof', split='v2', n_images=3929, fingerprint=print_)
        return compare_many({a: [dict(row, seed=i, acc=.7+i/1000+g+shift, recipe='r') for i,g in enumerate(gs)] for a,gs in dict(baseline=[0]*4, v=[.01,.012,.008,.011]).items()})['v']
    assert pool([one, of_table(.0003, 'z')]).sets==('imagewoof v2, 3929 images',)*2
    assert pool([of_table(.0003, 'y'), of_table(.0107, 'z')]).sets[0]=='imagewoof v2, 3929 images'

def test_what_is_no_estimate_of_a_fixed_number_of_seeds_is_refused():
    cs = studies(0, 3)
    x = cs[0].contrast.before.acc
    lost = [dict(seed=i, acc=a, status='diverged' if i == 2 else 'ok') for i,a in enumerate(x)]
    for bad,why in [(study(np.random.default_rng(9), sequential=True), 'looked at'), (compare_many(dict(baseline=x+.01, v=lost))['v'], 'diverged'),
            (compare(x, x+.01), 'no interval'), (study(np.random.default_rng(9), delta=.02), 'several margins')]:
        with pytest.raises(ValueError, match=why): pool([*cs, bad])
    with pytest.raises(ValueError, match='at least two'): pool(cs[:1])
    with pytest.raises(ValueError, match='0.08'): pool(studies(0, 3, alpha=.1))
    with pytest.raises(ValueError, match='2 sets for 3'): pool(cs, ['a','b'])

# ---- the best arm

def drawn(seed, k, n=8, gap=.004):
    rng = np.random.default_rng(seed)
    return {f'arm {i}': .8 - gap*i*rng.random() + rng.normal(0, .006, n) for i in range(k)}

def by_hand(arms, alpha=.05):
    "Hsu's constrained intervals, an arm at a time"
    k = len(arms)
    def bounds(a, b):
        t = stats.ttest_rel(arms[a], arms[b]).confidence_interval(1-2*alpha/(k-1)) # two-sided with so much on each side
        return (*t,)
    upper = {a: min(bounds(a, b)[1] for b in arms if b != a) for a in arms}
    kept = [a for a in arms if upper[a] >= 0]
    low = {a: min([0, *(bounds(a, b)[0] for b in kept if b != a)]) for a in arms}
    return {a: (low[a], max(0, upper[a])) for a in arms}, {*kept}

@pytest.mark.parametrize('seed', range(40))
def test_best_is_what_hsu_writes(seed):
    arms = drawn(seed, 2+seed%7, gap=(.001, .01, .03)[seed%3])
    found, (bounds, kept) = best(arms), by_hand(arms)
    assert {*found.among_best}==kept
    for o in found.arms: assert (o['low'], o['high'])==pytest.approx(bounds[o['arm']], abs=1e-12)

def test_best_of_three_by_hand():
    "Means 90, 89 and 85: with a reach of 2 the third is out, and the second is 3 behind to 1 ahead; with a reach of 0.5 the first is the best"
    means = np.array([90., 89, 85])
    low, high, may_be = to_the_best(means[:,None]-means, np.full((3, 3), 2.))
    assert low.tolist()==[-1, -3, -7] and high.tolist()==[3, 1, 0] and may_be.tolist()==[True, True, False]
    low, high, may_be = to_the_best(means[:,None]-means, np.full((3, 3), .5))
    assert low.tolist()==[0, -1.5, -5.5] and high.tolist()==[1.5, 0, 0] and may_be.tolist()==[True, False, False]
    half = np.array([[0, 2, 2], [2, 0, 20], [2, 20, 0]]) # the third is known well beside the first only, which puts it out
    low, _, may_be = to_the_best(means[:,None]-means, half)
    assert low.tolist()==[-1, -3, -24] and may_be.tolist()==[True, True, False]

def test_arms_of_unequal_seeds_have_the_mean_of_two_degrees_of_freedom():
    "Welch's alone are too many: of 8 arms, the best with 20 seeds and its rivals with 5, it is left out in 6.5 %"
    rng = np.random.default_rng(0)
    arms = {a: .8+rng.normal(0, .006, n) for a,n in (('many', 20), ('few', 5))}
    runs = {a: [dict(acc=o, seed=100*i+j) for j,o in enumerate(x)] for i,(a,x) in enumerate(arms.items())}
    one, two = ((x.var(ddof=1)/len(x), len(x)-1) for x in arms.values())
    welch = (one[0]+two[0])**2/(one[0]**2/one[1]+two[0]**2/two[1])
    reach = math.sqrt(one[0]+two[0])*stats.t.ppf(.95, (welch+4)/2)
    gap = arms['many'].mean()-arms['few'].mean()
    found = {o['arm']:o for o in best(runs).arms}
    assert found['many']['low']==pytest.approx(min(0, gap-reach)) and found['many']['high']==pytest.approx(max(0, gap+reach))

def test_of_two_it_is_a_one_sided_t():
    for seed in range(20):
        arms = drawn(seed, 2, gap=.02)
        p = stats.ttest_rel(*arms.values(), alternative='greater').pvalue
        assert (best(arms).among_best==['arm 0'])==(p < .05)

@pytest.mark.parametrize('seed', range(40))
def test_an_arm_more_never_shrinks_the_set_below_the_best(seed):
    rng = np.random.default_rng(100+seed)
    arms = drawn(seed, 2+seed%6, gap=.01)
    more = arms | dict(more=.8+rng.normal(rng.choice([-.02, 0, .02]), .006, 8))
    before, after = best(arms), best(more)
    assert after.winner in after.among_best
    for gone in {*before.among_best} - {*after.among_best}: assert more['more'].mean() > arms[gone].mean(), 'only an arm ahead of it puts an arm out'
    shuffled = best({a: more[a] for a in rng.permutation([*more])})
    assert {*shuffled.among_best}=={*after.among_best}

def test_the_winner_has_an_interval_over_all_arms():
    arms = drawn(1, 5)
    found = best(arms)
    x = max(arms.values(), key=np.mean)
    assert (found.winner_low, found.winner_high)==pytest.approx(stats.t.interval(1-.05/5, len(x)-1, x.mean(), x.std(ddof=1)/math.sqrt(len(x))))
    assert 'picked as the best of 5 arms' in found.words and 'too high on average' in found.words and 'an error rate of its own' in found.words
    assert json.dumps(found.to_dict())

def test_arms_without_common_seeds_diverged_runs_and_constant_gaps():
    arms = drawn(2, 3)
    apart = {a: [dict(seed=100*i+j, acc=o) for j,o in enumerate(x)] for i,(a,x) in enumerate(arms.items())}
    assert not best(apart).paired and 'Unpaired' in best(apart).words
    few = {a: [dict(seed=j, acc=o, status='ok') for j,o in enumerate(x)] for a,x in arms.items()}
    few['arm 1'][3]['status'] = 'diverged'
    found = best(few)
    assert found.paired and {o['n'] for o in found.arms}=={7} and 'arm 1 1 of 8' in found.words
    same = best({'a':arms['arm 0'], 'b':arms['arm 0']+.001})
    assert same.among_best==['b','a'] and same.to_dict()['arms'][0]['low'] is None and '+0.10 (no interval)' in same._repr_markdown_()
    with pytest.raises(ValueError, match='at least two'): best({'a':arms['arm 0']})

def rows_of(arm, seeds, **facts): return [dict(arm=arm, seed=s, acc=round(.6+.01*math.sin(7*s+ord(arm)), 4)) | facts for s in seeds]

@pytest.mark.parametrize('rows', [rows_of('b', range(5), env='cpu') + rows_of('v', range(10,15), env='gpu'),
    [o for env in ('cpu','gpu') for arm in 'bvw' for o in rows_of(arm, range(5), env=env)],
    [*rows_of('b', range(10), env='cpu'), *rows_of('v', range(10), env='cpu'), *rows_of('b', [10], env='gpu')]], ids=['apart','both','one more'])
def test_the_best_is_not_told_across_machines(rows):
    with pytest.raises(ValueError, match='differ in env'): best(pd.DataFrame(rows))
    alike = [o | dict(env='cpu', seed=o['seed']+100*(o['env']=='gpu')) for o in rows]
    assert best(pd.DataFrame(alike)).k==len({o['arm'] for o in rows})

def test_the_best_of_a_study_is_not_told_across_machines(tmp_path, capsys):
    from test_runs import a_run
    study = Study('two', ['baseline','simple'], 6, recipe=load_recipes()['demo'], root=tmp_path, env=this_env('cpu'))
    study.declare()
    for seed in study.seeds:
        arm, env = ('baseline', study.env) if seed<3 else ('simple', 'gpu-torch1')
        write_run(a_run(seed, arm, load_recipes()['demo'], acc=.5+seed/100, n_images=100, correct='', env=env), tmp_path)
    rc, o = said(capsys, 'two', '--root', tmp_path, '--best', '--env', 'any')
    assert rc and 'differ in env' in o.err

def test_the_best_refuses_rows_that_are_no_runs_and_says_what_was_left_out():
    rows = rows_of('b', range(6)) + rows_of('v', range(6))
    means = [dict(arm=a, seed='mean', acc=np.mean([o['acc'] for o in rows if o['arm']==a])) for a in 'bv']
    with pytest.raises(ValueError, match='is a mean of other rows'): best(pd.DataFrame(rows+means))
    running = [o | dict(status='ok') for o in rows] + [o | dict(seed=9, status='running') for o in (rows[0], rows[-1])]
    assert 'are not finished, and are left out' in best(pd.DataFrame(running)).words

# ---- the command line

@pytest.fixture
def results(tmp_path):
    rng, lines = np.random.default_rng(0), ['dataset,arm,seed,acc']
    for d in 'abcde':
        for arm,gain in (('baseline', 0), ('self', .02), ('simple', .02)):
            lines += [f'{d},{arm},{seed},{.8+gain+rng.normal(0, .006):.4f}' for seed in range(6)]
        (tmp_path/f'{d}.csv').write_text('\n'.join(['arm,seed,acc', *(o[2:] for o in lines if o[:2] == f'{d},')]))
    (tmp_path/'all.csv').write_text('\n'.join(lines))
    return tmp_path

def said(capsys, *words): return main(['compare', *map(str, words)]), capsys.readouterr()

def test_pool_on_the_command_line(results, capsys):
    files = [results/f'{o}.csv' for o in 'abcde']
    rc, of_files = said(capsys, *files, '--pool', '--fmt', 'json')
    one = json.loads(of_files.out)
    _, of_parts = said(capsys, results/'all.csv', '--by', 'dataset', '--pool', '--fmt', 'json')
    other = json.loads(of_parts.out)
    assert rc==0 and [*one]==['self','simple'] and [(o['low'], o['high']) for o in one.values()]==[(o['low'], o['high']) for o in other.values()]
    predicted = one['self']['predicted']
    _, o = said(capsys, *files, '--pool', '--fmt', 'csv')
    further = next(r for r in csv.DictReader(o.out.splitlines()) if (r['arm'], r['study'])==('self','a further study'))
    assert [float(further['low']), float(further['high'])]==pytest.approx(predicted) and further['diff']==further['answer']==''
    for fmt in ('table','md','latex','csv'):
        rc, o = said(capsys, *files, '--pool', '--fmt', fmt)
        assert rc==0 and ('mean' in o.out)
    (results/'copy.csv').write_text(files[0].read_text())
    rc, o = said(capsys, files[0], results/'copy.csv', '--pool')
    assert rc==2 and 'share runs' in o.err

def test_advice_keeps_every_file_and_asks_nothing_that_is_refused(results, tmp_path, capsys):
    third, percent, several = results/'a.csv', results/'b.csv', results/'all.csv'
    for file in (third, percent):
        head, *rows = [o.split(',') for o in file.read_text().splitlines()]
        file.write_text('\n'.join(map(','.join, [head, *([arm, seed, f'{100*float(acc):.2f}'] for arm,seed,acc in rows)])))
    _, o = said(capsys, third, percent, '--pool', '--delta', '.02')
    assert f'simpleattn compare {third} {percent} --pool --delta .02 --percent' in o.err.replace('0.02', '.02')
    assert said(capsys, third, percent, '--pool', '--delta', '.02', '--percent')[0]==0
    _, o = said(capsys, several, 'woof-cpu', '--pool', '--root', ROOT/'runs')
    assert f'simpleattn compare {several} woof-cpu --pool --root {ROOT/"runs"} --where' in o.err
    _, o = said(capsys, several, '--best')
    assert '--best --where' in o.err and '--best --ignore' in o.err and '--by' not in o.err
    _, o = said(capsys, several, '--pool')
    assert f'{several} --pool --by dataset' in o.err

def test_a_file_is_called_as_it_is_written(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name,o in zip(('c3.csv','c4.csv'), tables(np.random.default_rng(1), 10, 4)):
        sides = (o.contrast.before, o.contrast.after)
        (tmp_path/name).write_text('\n'.join(['arm,seed,acc', *(f'{x.arm},{s},{a}' for x in sides for s,a in zip(x.seeds, x.acc))]))
    rc, o = said(capsys, 'c3.csv', 'c4.csv', '--pool')
    assert rc==0 and 'Of c3.csv and c4.csv, 8 of 20 seeds' in o.out and 'C3.csv' not in o.out

def test_best_on_the_command_line(results, capsys):
    rc, o = said(capsys, results/'a.csv', '--best', '--fmt', 'json')
    assert rc==0 and {*json.loads(o.out)['among_best']} <= {'self','simple'}
    rc, o = said(capsys, 'woof-cpu', '--root', ROOT/'runs', '--best')
    assert rc==0 and '3 of 3 arms cannot be told from the best' in o.out
    command = 'simpleattn study woof-cpu --variants woof-cpu/baseline,woof-cpu/simple --seeds 1000,1001,1002,1003,1004'
    assert f'To estimate its mean afresh, train fresh seeds: {command} --name woof-cpu-simple-confirm --root {ROOT/"runs"}' in o.out
    _, o = said(capsys, 'woof-cpu', '--root', ROOT/'runs', '--best', '--fmt', 'json')
    assert json.loads(o.out)['confirm'].startswith(command)

def test_seeds_that_confirm_are_none_of_the_study(tmp_path, capsys):
    from test_runs import a_run
    recipe = load_recipes()['demo']
    study = Study('late', ['baseline','simple'], [1000,1001,1002], recipe=recipe, root=tmp_path, env=this_env('cpu'))
    study.declare()
    for seed in study.seeds:
        for arm,acc in (('baseline', .5), ('simple', .6)): write_run(a_run(seed, arm, recipe, acc=acc+.01*(seed%3)*(arm=='simple'), n_images=100, correct='', env=study.env), tmp_path)
    rc, o = said(capsys, 'late', '--root', tmp_path, '--best')
    assert rc==0 and '--seeds 1003,1004,1005,1006,1007' in o.out

def test_seeds_that_are_there_are_counted_for_a_plan(tmp_path):
    env = next((ROOT/'runs'/'woof-cpu'/'baseline').iterdir()).name
    assert plan_study('woof-cpu', 5, root=ROOT/'runs', env=env).there==20
    assert plan_study('woof-cpu', 5, root=ROOT/'runs', env=env, sd=.01).there==20
    assert plan_study('woof-cpu', 5, root=tmp_path, env=env, sd=.01).there==0

@pytest.mark.parametrize('words,why', [
    (['a.csv','--pool'], 'at least two'), (['a.csv','a.csv','--pool'], 'is given twice'), (['a.csv','--pool','--best'], 'one at a time'),
    (['a.csv','b.csv','--best'], 'one study or file'), (['a.csv','--best','--delta','.02'], '--delta: not for --best'), (['--pool'], 'several studies'),
    (['a.csv','b.csv','--pool','--against','.8'], '--against'), (['a.csv','b.csv','--pool','--full'], '--full'), (['a.csv','b.csv','--pool','--env','x'], '--env')])
def test_what_cannot_be_answered_is_refused(words, why, results, capsys):
    rc, o = said(capsys, *(results/w if w.endswith('.csv') else w for w in words))
    assert rc==2 and why in o.err

def test_the_leaderboard_prints_a_pick_with_its_interval_over_all_arms(capsys):
    pick = next(e for e in leaderboard(board_entries(ROOT/'runs')) if e.arm.name.startswith('woof-cpu/'))
    x = np.array([r.acc for r in pick.ordinary])
    assert pick.over_k==pytest.approx(stats.t.interval(1-.05/pick.best_of, len(x)-1, x.mean(), x.std(ddof=1)/math.sqrt(len(x))))
    main(['leaderboard', '--root', str(ROOT/'runs')])
    said = capsys.readouterr().out
    assert f'{pick.picked_words} To confirm it on reserved seeds: simpleattn study' in said and 'too high on average' in said

# ---- error rates

@pytest.fixture(scope='module')
def questions():
    sys.path.insert(0, str(BENCH))
    spec = importlib.util.spec_from_file_location('bench_questions', BENCH/'questions.py')
    spec.loader.exec_module(m := importlib.util.module_from_spec(spec))
    return m

@pytest.mark.parametrize('section', ['unlike_studies','skewed_studies','two_studies','apart','unequal_seeds', *(pytest.param(o, marks=pytest.mark.slow) for o in ('pooled','best_arm'))])
def test_error_rates_in_short(section, questions):
    "A part of the studies, some of them judged by the public functions too: a share may stray four standard errors over its bound"
    for r in questions.SECTIONS[section](.05):
        if r['bound']: assert r['value'] <= float(r['bound'][2:]) + 4*math.sqrt(.05*.95/r['studies']), r

def test_the_record_kept_every_bound_and_the_page_says_its_limits():
    d = json.loads((BENCH/'records'/'questions.json').read_text())
    assert d['ok'] and all(r['studies'] >= 20_000 for r in d['rows'])
    def values(what): return [r['value'] for r in d['rows'] if r['what']==what]
    bounded = {r['what'] for r in d['rows'] if r['bound']}
    assert {r['bound'] for r in d['rows']}=={'<=0.055', None} and {'mean of studies, missed', 'sd between studies, missed', 'best arm left out'} <= bounded
    for what in ('mean of studies, missed', 'best arm left out'): assert all(r['bound'] for r in d['rows'] if r['what']==what)
    assert {r['k'] for r in d['rows'] if r['what']=='best arm left out'}=={3,5,8} and {r['k'] for r in d['rows'] if r['what']=='mean of studies, missed'}=={3,5,10}
    def most(what): return round(100*max(values(what)))
    askew = values('mean of studies that vary askew, missed')
    page = (ROOT/'nbs'/'19_questions.ipynb').read_text()
    assert f'misses {round(100*min(askew))} to {round(100*max(askew))} % with 3 to 10' in page
    assert f"misses up to {most('sd between studies, missed by the profile that takes variances as exact')} % at 20" in page
    assert f"at most {most('sd between studies, missed')} % are missed at 20" in page
    assert f"outside the prediction in up to {most('a further study, outside the prediction')} %, and the difference of two studies of 5 and 20 seeds is missed in up to {most('difference of two studies, missed')} %" in page
    welch = most("best arm left out by Welch's degrees of freedom")
    assert f"the best of 8 arms is left out in up to {welch} %" in page
    assert 'fewer than 1 set in 1,000 is refused' in page and max(r['value'] for r in d['rows'] if r['what']=='independent studies, any two refused' and r['n']==[5,20]) < .001

def test_studies_and_their_mean_speak_as_a_comparison_does():
    "At one level: words, and the p of that answer"
    rng = np.random.default_rng(4)
    b = .9+.004*rng.standard_normal((3, 6))
    runs = [dict(baseline=o, v=o+.001+.002*rng.standard_normal(6), w=o-.022+.003*rng.standard_normal(6)) for o in b]
    answers = {f's{i}': compare_many(o) for i,o in enumerate(runs)}
    for arm in 'vw':
        p = pool({k: o[arm] for k,o in answers.items()})
        assert [(o['answer_words'], o['p_verdict']) for o in p.of_studies] == [(o[arm].verdict_words, o[arm].p_verdict) for o in answers.values()]
        assert p.family == 2 and p.p_verdict == (None if p.answer == 'undecided' else pytest.approx(2*max(p.estimate.p_of(o) for o in ([0.] if p.answer in ('better','worse') else [-.01,.01]))))
        head, rows = words.pool_rows(p)
        assert head[-1] == 'p of that answer' and [o[3] for o in rows[:3]] == [o[arm].verdict_words for o in answers.values()]
    assert f'{words.p_words(p.p_verdict)} of "{p.answer}"' in p.words and p.to_dict()['p_verdict'] == p.p_verdict

def test_a_part_of_a_study_under_other_seeds_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    acc = {(a,s):round(.6+.01*rng.normal(), 4) for a in ('baseline','v') for s in range(10)}
    def wrote(name, seeds, by):
        rows = '\n'.join(f'{a},{s+by},{acc[a,s]}' for a in ('baseline','v') for s in seeds)
        (tmp_path/name).write_text('variant,seed,accuracy\n'+rows+'\n')
    for name,seeds,by in (('a.csv',range(10),0), ('shifted.csv',range(10),100), ('half.csv',range(5),100)): wrote(name, seeds, by)
    assert main(['compare','a.csv','shifted.csv','--pool'])==2
    assert 'all 10 accuracies of baseline are the same in both, under other seeds' in capsys.readouterr().err
    main(['compare','a.csv','half.csv','--pool'])
    assert 'under other seeds' in ''.join(capsys.readouterr())

def test_two_studies_have_no_bound_of_alpha(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(4)
    for name in ('a.csv','b.csv'):
        rows = '\n'.join(f'{a},{s},{.6+.01*rng.normal():.4f}' for a in ('baseline','v') for s in range(6))
        (tmp_path/name).write_text('variant,seed,accuracy\n'+rows+'\n')
    assert main(['compare','a.csv','b.csv','--pool','--alpha','0.1'])==0

def test_a_pool_of_noninferiority_answers_as_its_studies_do():
    rng = np.random.default_rng(0)
    studies = {f's{k}':compare(*(a.tolist() for a in (.6+rng.normal(0,.003,10), .606+rng.normal(0,.003,10))), goal='noninferior') for k in range(4)}
    pooled = pool(studies)
    assert pooled.answer in ('better','not worse') and pooled.p_verdict is not None
    wide = pool({k:replace(c, delta=.02) for k,c in studies.items()})
    assert wide.answer!='undecided'

def test_a_diverged_run_says_nothing_of_where_it_ran():
    table = pd.DataFrame([(a,s,round(.6+.01*k+.007*((s*(3*k+2)+k)%7), 4),500,'ok') for k,a in enumerate('bvw') for s in range(6)], columns=['arm','seed','acc','n_images','status'])
    table.loc[7,['acc','n_images','status']] = np.nan,np.nan,'diverged'
    assert 'w' in {o['arm'] for o in best(table).arms}
