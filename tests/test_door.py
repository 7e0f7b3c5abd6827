"What a comparison says at the door: units, indices, runs without a partner, limits where they are met"
import json, math, warnings
from itertools import combinations
import numpy as np, pandas as pd, pytest
from scipy.stats import rankdata
from conftest import ROOT
from test_runs import a_run
from simpleattn.plan import plan, race_path
from simpleattn.recipes import Recipe
from simpleattn.runs import check_declaration, pack_bits, this_env, write_run
from simpleattn.questions import best, pool
from simpleattn.results import against
from simpleattn.stats import compare, compare_many, compare_summary, decompose, holm, outlying, rank_sum_p, read_samples
from simpleattn.study import Study, plan_study
from simpleattn.words import gain_text, percent, points

ENV = this_env('cpu')
def normal(seed, n, sd=.01): return .6+sd*np.random.default_rng(seed).normal(size=n)
def notes(c): return ' | '.join(c.notes)

# ---- units and indices

def test_units_are_decided_over_all_arms():
    c = compare([0,1,0,1,1], [3,1,2,0,1], n_images=400)
    assert (c.mean_baseline, c.mean_variant)==pytest.approx((.6/400, 1.4/400))
    many = compare_many({'baseline':[0,1,0,1,1], 'a':[1,0,1,1,0], 'b':[3,1,2,0,1]}, n_images=400)
    assert [o.mean_variant for o in many]==pytest.approx([.6/400, 1.4/400])
    rows = pd.DataFrame([dict(arm=a, seed=i, acc=x) for a,o in dict(baseline=[0,1,0,1,1], b=[3,1,2,0,1]).items() for i,x in enumerate(o)])
    assert compare_many(rows, n_images=400)['b'].mean_baseline==pytest.approx(.6/400)
    assert compare([0,1,0,1,1], [1,1,0,0,1], n_images=400).mean_variant==pytest.approx(.6) # no count: fractions of ones and zeros

def test_a_series_is_read_by_its_index():
    a,b = pd.Series(normal(0, 8), range(8)),pd.Series(normal(0, 8)+.01+.002*np.arange(8), range(8))
    mixed = b.sample(frac=1, random_state=3)
    assert compare(a, mixed).to_dict()==compare(a, b).to_dict() and compare(a, mixed).corr>.9
    assert compare_many({'baseline':a, 'v':mixed})['v'].p==pytest.approx(compare(a, b).p)
    assert compare(a, mixed.iloc[:7]).n==7 and 'left out: seed ' in notes(compare(a, mixed.iloc[:7]))
    with pytest.raises(ValueError, match='index'): compare(a, mixed.to_numpy())

# ---- what was left out, and where a limit is met

def test_runs_without_a_partner_are_named():
    x,y = normal(1, 10),normal(2, 10)
    c = compare(x, y, seeds=(range(10), range(1, 11)))
    assert c.n==9 and 'runs without a partner, left out: seed 0 of baseline and seed 10 of variant' in c.notes
    assert not any('left out' in o for o in compare(x, y).notes) and not any('left out' in o for o in compare(x, y, paired=False).notes)

def test_few_runs_are_warned_of():
    assert '3 runs of baseline and 3 runs of variant: with three or fewer' in notes(compare(normal(1, 3), normal(2, 3)))
    assert '2 runs of variant: with three or fewer' in notes(compare(normal(1, 20), normal(2, 2), paired=False))
    assert 'three or fewer' not in notes(compare(normal(1, 4), normal(2, 4)))

def test_a_run_far_outside_its_arm_is_named_and_counted():
    x,y = normal(1, 20),normal(2, 20); y[7] = .1
    c = compare(x, y)
    assert 'variant has a run of 10.00 % (seed 7), far outside its other runs' in notes(c) and c.n==20
    assert sum('far outside' in notes(compare(normal(k, 20), normal(k+1000, 20))) for k in range(300))<=3, 'normal noise is left alone'

def test_unequal_spread_is_said():
    assert 'more than 3-fold' in notes(compare(normal(1, 10), normal(2, 10, .06), paired=False))
    assert '3-fold' not in notes(compare(normal(1, 10), normal(2, 10), paired=False))

def test_equal_differences_give_a_table_that_says_so():
    for x,y in (([.8,.81,.83], [.81,.82,.84]), ([.8,.81,.9], [.8,.81,.9]), ([.8]*3, [.9]*3)):
        c = compare(x, y)
        assert c.verdict=='undecided' and c.low is c.p is c.p_verdict is c.next is None and 'nothing to test with' in notes(c)
        assert c.verdict_words.startswith('undecided: every') and 'every' in c._repr_markdown_()
        json.dumps(c.to_dict(), allow_nan=False)
    assert compare_summary(.8, .01, 5, .81, .01, 5).verdict=='undecided'

def test_failures_too_rare_to_be_seen_are_said():
    rows = pd.DataFrame([dict(arm=a, seed=i, acc=x, status='ok') for a,o in dict(baseline=normal(1, 9), v=normal(2, 9)).items() for i,x in enumerate(o)])
    assert 'the true rate may be up to' in compare_many(rows)['v'].sentence()

# ---- numbers that cannot be

def test_no_minus_zero_and_no_gain_beyond_a_hundred_points():
    assert points(-.00001)=='+0.00 pp' and percent(-.00001, '+')=='+0.00' and percent(-1e-9)=='0.00'
    assert points(1.1105)=='+100.00 pp' and points(-1e53)=='-100.00 pp' and points(math.inf)=='n/a'
    wide = compare([.1,.9], [.95,.05], delta=.01)
    assert wide.low<-1 and '-100.00' in wide.sentence() and '100.00' in wide.summary()['gain']
    assert plan(2, .4).detectable is None and 'no difference of accuracies would be found' in plan(2, .4).words

def test_a_correlation_has_no_minus_zero():
    assert 'seed correlation 0.00.' in compare([.90,.91,.92,.93,.94], [.911,.90,.92,.90,.9109]).sentence()

@pytest.mark.parametrize('delta,bounds,said', [(1e-5, (-1e-5, -9e-6), '(-0.001 to -0.0009)'), (.01, (-.01, -.009), '(-1.00 to -0.90)'), (.00123, (.00123, .002), '(+0.123 to +0.20)')])
def test_a_bound_on_the_margin_has_its_decimals(delta, bounds, said):
    assert gain_text(sum(bounds)/2, bounds, delta).endswith(said)

@pytest.mark.parametrize('odd', [dict(n=2.5), dict(n=math.inf), dict(n=math.nan), dict(variants=1.5), dict(variants=math.inf), dict(minutes=-3), dict(minutes=math.inf)], ids=str)
def test_a_plan_counts_whole_seeds_and_variants(odd):
    with pytest.raises(ValueError, match='a whole number of them|cannot take'): plan(**dict(n=5, sd=.01) | odd)

def test_a_plan_of_named_variants_takes_their_pairs():
    how = dict(root=ROOT/'runs', env='cpu-torch2.15')
    both = plan_study('demo', variants=['self','simple'], **how)
    each = [plan_study('demo', arm=o, **how).sd_diff for o in ('self','simple')]
    assert both.variants == 2 and both.sd_diff == pytest.approx((sum(o**2 for o in each)/2)**.5) and both.sd_diff != plan_study('demo', variants=2, **how).sd_diff
    assert plan_study('demo', variants=['mine'], **how).sd_diff == plan_study('demo', **how).sd_diff, 'of others, where the named ones have no runs'

def test_new_images_are_never_more_certain_than_this_set():
    rng = np.random.default_rng(0)
    for _ in range(200):
        R,M = int(rng.integers(2, 6)),int(rng.integers(4, 400))
        p = rng.random(M); b,v = (rng.random((R,M))<p for _ in range(2))
        c = compare(b.mean(1), v.mean(1), correct=(b, v), paired=bool(rng.random()<.5))
        if c.new_low is None or c.low is None: continue
        assert c.new_low<=c.low+1e-12 and c.high-1e-12<=c.new_high and c.new_df>=R-1

def test_mean_squares_that_tie():
    d = decompose([[0,0,-1,-1,0],[0,0,0,0,0]])
    assert (d.df_new_images, d.se_new_images)==(1, d.se_this_set)

# ---- seeds that were there before

def of_bits(seed, variant, rng):
    bits = rng.random(400)<.6
    return a_run(seed, variant, 'tiny', ENV, acc=float(bits.mean()), n_images=400, correct=pack_bits(bits))

def test_seeds_from_before_the_declaration_are_explained_first(tmp_path):
    rng = np.random.default_rng(1)
    for v in ('baseline','simple'):
        for s in range(2):
            write_run(of_bits(s, v, rng), tmp_path)
    study = Study('s', ['baseline','simple'], 2, recipe=Recipe('tiny'), root=tmp_path, env=ENV)
    study.declare()
    c, = study.compare()
    assert c.notes[0].startswith('pairs that existed before this study was declared: 2, so it gets the wider interval of a study that was looked at')
    assert c.sequential and c.verdict=='undecided' and c.n==2

def test_every_run_that_is_left_out_of_pairs_is_named():
    "Of another machine, of a seed that the other arm lacks, or without a seed"
    rng = np.random.default_rng(0)
    def rows(arm, n, env): return [dict(arm=arm, seed=i, acc=.6+.01*rng.standard_normal(), env=env) for i in range(n)]
    both = [o for arm in ('baseline','x') for env,n in (('one',10), ('two',2)) for o in rows(arm, n, env)]
    c, = compare_many(pd.DataFrame(both))
    assert c.n == 10 and c.notes[0] == 'runs outside the pairs that are compared, left out: seeds 0, 1 of baseline and seeds 0, 1 of x'
    runs = {arm: [dict(seed=s, acc=.6+.01*rng.standard_normal()) for s in seeds] for arm,seeds in (('baseline', (0,1,2,3,None)), ('x', (0,1,2,3,4)))}
    assert compare_many(runs)['x'].notes[0] == 'runs without a partner, left out: 1 run without a seed of baseline and seed 4 of x'

def test_a_gain_of_gains_names_a_run_far_outside_its_arm():
    b = .6+.005*np.random.default_rng(1).standard_normal(10)
    v = b+.01+.002*np.random.default_rng(2).standard_normal(10)
    v[3] = .1
    c, = compare_many(dict(a=b, b=v-.001, c=b, d=v), None, contrasts=['abcd'])
    assert sum('far outside its other runs' in o for o in c.notes) == 2

def test_gains_that_do_not_vary_give_a_row_that_says_so():
    runs = dict(a=[.6,.61,.62], b=[.61,.62,.63], c=[.6,.61,.62], d=[.62,.63,.64])
    c, = compare_many(runs, None, contrasts=['abcd'])
    assert c.diff == pytest.approx(.01) and c.low is None and c.verdict == 'undecided' and c.verdict_words == 'undecided: every difference is the same'

def test_the_unit_and_the_images_hold_for_rows_and_arrays_alike():
    rows = [dict(seed=i, acc=o) for i,o in enumerate([0,1,0])]
    c = compare_many(dict(baseline=rows, x=[3,2,1]), n_images=400)['x']
    assert c.diff == pytest.approx((3+2+1-1)/3/400) and c.contrast.before.n_images == 400

def test_a_race_that_ends_not_worse_says_how_its_estimate_is_biased():
    d = .004+.003*np.random.default_rng(3).standard_normal(10)
    c = compare(.6+0*d, .6+d, goal='noninferior', sequential=True)
    assert c.verdict == 'not worse' and 'biased upwards: the true difference is likely smaller' in c.notes[0]

def test_a_long_race_with_a_clear_answer_warns_of_nothing():
    d = .2+1e-4*np.random.default_rng(3).standard_normal(2000)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        path = race_path(d)
    assert path[-1].verdict == 'better' and path[-1].p < 1e-300

@pytest.mark.parametrize('sequential', [False, True])
def test_runs_without_a_partner_are_named_however_the_seeds_were_looked_at(sequential):
    b, v = normal(1, 10), normal(2, 10)
    c = compare(b, v, seeds=(range(10), [*range(8), 20, 21]), sequential=sequential)
    assert c.n == 8 and 'runs without a partner, left out: seeds 8, 9 of baseline and seeds 20, 21 of variant' in c.notes
    assert 'without a partner' not in notes(compare(b, v, sequential=sequential))

def test_runs_after_the_decision_need_no_partner():
    "A baseline goes on for other arms; a gap before the decision is named all the same"
    b, v = normal(1, 30), normal(1, 30)+.05
    v[0] += .001
    whole = compare(b, v, sequential=True)
    n = whole.n
    assert whole.verdict == 'better' and n < 8
    c = compare(b, v[:n], seeds=(range(30), range(n)), sequential=True)
    assert c.n == n and 'partner' not in notes(c)
    kept = [i for i in range(30) if i != 1]
    c = compare(b[kept], v, seeds=(kept, range(30)), sequential=True)
    assert c.verdict == 'better' and 'runs without a partner, left out: seed 1 of variant' in c.notes

def stored(root, arms, recipe='tiny'):
    "Records of arms, each with its seeds"
    for arm,seeds in arms.items():
        for s in seeds:
            bits = np.random.default_rng([len(arm), s]).random(400) < .6
            write_run(a_run(s, arm, recipe, ENV, acc=float(bits.mean()), n_images=400, correct=pack_bits(bits)), root)

def test_a_study_that_grew_names_the_runs_it_leaves_out(tmp_path):
    arms = ['baseline', 'simple']
    Study('s', arms, 3, recipe=Recipe('tiny'), root=tmp_path, env=ENV).declare()
    stored(tmp_path, dict(baseline=range(3), simple=range(3)))
    grown = Study('s', arms, 6, recipe=Recipe('tiny'), root=tmp_path, env=ENV)
    grown.declare()
    stored(tmp_path, dict(baseline=(3, 4), simple=(3, 5)))
    c, = grown.compare()
    assert c.sequential and c.n == 4 and 'runs without a partner, left out: seed 4 of baseline and seed 5 of simple' in c.notes

def test_a_race_names_the_runs_behind_a_gap(tmp_path):
    stored(tmp_path, dict(baseline=(0, 1, 3, 4), simple=range(5)))
    race = Study('r', ['baseline', 'simple'], 5, recipe=Recipe('tiny'), root=tmp_path, env=ENV)
    race.raced = dict(arms=1)
    c, = race.compare()
    assert c.n == 2 and any('left out: seeds 2, 3, 4 of simple' in o for o in c.notes)

def test_seeds_from_before_the_declaration_are_explained_where_an_arm_is_refused(tmp_path):
    early = 'that existed before this study was declared: '
    stored(tmp_path, dict(baseline=(0, 1), simple=(1, 2), self=(0, 1)))
    def study(name, *arms):
        made = Study(name, ['baseline', *arms], 3, recipe=Recipe('tiny'), root=tmp_path, env=ENV)
        made.declare()
        return made
    refused, other = study('some', 'simple', 'self').compare()
    assert refused.why and not other.why and early in refused.sentence() and early in other.sentence()
    with pytest.raises(ValueError, match=early): study('all', 'simple').compare()

OUTSIDE = {3:[.7, .705, .1], 4:[.7, .703, .699, .1], 5:[.7, .71, .69, .10, .12], 6:[.7, .71, .69, .705, .10, .12],
    8:[.7, .71, .69, .705, .695, .7, .10, .12], 9:[.7, .703, .699, .704, .701, .705, .698, .5, .52], 'equal':[.7, .7, .1]}

@pytest.mark.parametrize('case', OUTSIDE)
def test_runs_far_outside_are_named_also_where_they_hide_one_another(case):
    x = OUTSIDE[case]
    b = normal(3, len(x), .004)
    far = sorted(o for o in x if o < .6)
    said = [o for o in compare(b, x).notes if 'far outside' in o]
    assert len(said) == len(far) and all(any(f'variant has a run of {100*o:.2f} %' in s for s in said) for o in far)

@pytest.mark.parametrize('n', [3, 4, 5, 8, 12, 20])
def test_normal_noise_is_left_alone(n):
    samples = read_samples({i: normal(i, n) for i in range(4000)})
    assert sum(bool(outlying(o)) for o in samples.values()) <= 10 # of 4 that are expected at most

BESIDE = [([.902, .70, .90, .898], [.901, .899, .902, .897]), ([.902, .60, .9], [.901, .899, .902]), ([.9]*8+[.6], [.9]*8+[.901]), ([.9]*8+[.6], [.9]*9),
    ([.902, .80, .9, .898, .899], [.901, .899, .902, .897, .9]), ([.902, .9, .11, .12], [.901, .899, .902, .897]),
    ([.902, .9, .898, .11, .12, .1], [.901, .899, .902, .897, .9, .896]), ([.902, .70, .90, .898], [.30, .899, .902, .897])]

@pytest.mark.parametrize('x,other', BESIDE, ids=str)
def test_the_other_arms_tell_which_run_is_far_outside_its_own(x, other):
    far = {f'variant has a run of {100*o:.2f} %' for o in x if o < .85}
    assert {o.split(' (')[0] for o in compare(other, x).notes if o.startswith('variant has')} == far
    table = pd.DataFrame([dict(arm=a, seed=i, acc=o) for a,arm in dict(variant=x, other=other).items() for i,o in enumerate(arm)])
    for said in (against(table, .9)[0].sentence(), best(table).words): assert all(o[1:] in said for o in far)
    assert not any('far outside' in o for o in compare([.9]*9, [.9]*8+[.91]).notes), 'nor are equal runs a noise'

@pytest.mark.parametrize('n,sd', [(3, .02), (4, .05), (5, .05), (8, .02), (20, .05)])
def test_normal_noise_is_left_alone_also_beside_other_arms(n, sd):
    samples = [*read_samples({i: normal(i, n, sd) for i in range(4000)}).values()]
    assert sum(bool(outlying(one, [other])) for one,other in zip(samples, samples[1:])) <= 10 # of 4 that are expected at most

def test_every_question_of_runs_gets_the_notes_of_its_arms():
    few = dict(baseline=[.71, .712, .706], v=[.70, .705, .1])
    rows = pd.DataFrame([dict(arm=a, seed=i, acc=o) for a,o in few.items() for i,o in enumerate(o)])
    far, three = ' has a run of 10.00 % (seed 2), far outside', 'with three or fewer'
    one, other = against(rows, .7)
    assert far in other.sentence() and three in other.sentence() and three in one.sentence() and far in ' '.join(other.to_dict()['notes'])
    assert far in best(rows).words and three in best(rows).words
    many = {f's{k}': compare_many(dict(baseline=np.array(few['baseline'])+k/70, v=np.array(few['v'])+k/50))['v'] for k in range(3)}
    said = pool(many).words
    assert '0: v has a run of 10.00 % (seed 2), far outside' in said and said.count(three) == 3

def test_diverged_runs_are_not_held_against_a_number_in_silence():
    rows = pd.DataFrame([dict(arm='v', seed=i, acc=o, status='ok') for i,o in enumerate(normal(1, 5))] + [dict(arm='v', seed=9, acc=math.nan, status='diverged')])
    assert 'Diverged runs are left out: 1 of 6' in against(rows, .6)[0].sentence()

def test_rounding_errors_are_no_spread():
    assert '3-fold' not in notes(compare([.6]*3, [.8]*3))

def test_that_failures_are_not_known_is_said_where_limits_are():
    said = 'It is not known whether runs failed'
    x, y = normal(1, 5), normal(2, 5)
    rows = pd.DataFrame([dict(arm=a, seed=i, acc=o) for a,arm in dict(baseline=x, v=y).items() for i,o in enumerate(arm)])
    for c in (compare(x, y), compare(x, y, sequential=True), compare_many(rows)['v'], compare_summary(.6, .01, 5, .61, .01, 5)):
        assert said in c.sentence() and said not in notes(c)
    assert said not in compare_many(rows.assign(status='ok'))['v'].sentence()
    gains, = compare_many(dict(a=x, b=y, c=normal(3, 5), d=normal(4, 5)), None, contrasts=['abcd'])
    assert said not in gains.sentence()

@pytest.mark.parametrize('how', [{}, dict(paired=False), dict(sequential=True)])
def test_seeds_that_would_decide_are_those_that_train(how):
    rows = pd.DataFrame([dict(arm=a, seed=i, acc=o, status='diverged' if a == 'v' and i < 4 else 'ok')
        for a,arm in dict(baseline=normal(1, 10), v=normal(2, 10)).items() for i,o in enumerate(arm)])
    c, = compare_many(rows, delta=.001, **how)
    assert c.verdict == 'undecided' and 'seeds' in c.summary()['next']
    unit = 'seeds in all that train' if how.get('sequential') else 'fresh seeds that train'
    assert unit in c.summary()['next'] and f'{unit}.' in c.sentence()
    assert 'that train' not in compare(normal(1, 10), normal(2, 10), **how).sentence()

def test_the_runs_of_a_study_are_compared_as_the_study_is(tmp_path):
    stored(tmp_path, dict(baseline=range(4), simple=range(4)))
    study = Study('s', ['baseline', 'simple'], 4, recipe=Recipe('tiny'), root=tmp_path, env=ENV)
    study.declare()
    runs = study.runs()
    assert {'arm', 'variant'} <= {*runs.columns}
    c, = compare_many(runs, 'baseline')
    assert c.n == 4 and c.diff == pytest.approx(compare_many(study.read().samples(), 'baseline')['simple'].diff)
    mixed = runs.assign(variant=[f'{v}{i%2}' for i,v in enumerate(runs.variant)])
    with pytest.raises(ValueError, match='variant .* varies within an arm'): compare_many(mixed, 'baseline')

def test_a_share_of_wins_takes_no_matrix():
    import tracemalloc
    rng = np.random.default_rng(0)
    b, v = rng.integers(0, 400, (2, 7))/400
    gaps = v[:,None]-b
    assert compare(b, v).p_improve_unpaired == pytest.approx(((gaps > 1e-9).sum() + .5*(abs(gaps) <= 1e-9).sum())/49)
    many = compare(normal(1, 5000), normal(2, 5000))
    tracemalloc.start()
    assert .4 < many.p_improve_unpaired < .6
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()

def test_counts_are_read_by_a_column_of_images():
    b, v = np.random.default_rng(0).integers(415, 440, (2, 10))
    rows = pd.DataFrame([dict(variant=a, seed=i, accuracy=o, n_images=500) for a,arm in dict(baseline=b, v=v).items() for i,o in enumerate(arm)])
    c, = compare_many(rows)
    assert c.diff == pytest.approx((v.mean()-b.mean())/500) and c.contrast.before.n_images == 500
    assert best(rows).winner_mean == pytest.approx(max(b.mean(), v.mean())/500)
    fractions = rows.assign(accuracy=rows.accuracy/500)
    assert compare_many(fractions)['v'].diff == pytest.approx(c.diff)
    for wrong in (rows.assign(accuracy=60+rows.seed), rows.assign(n_images=math.nan), rows.assign(n_images=400)): # percent; no images; more correct than there are
        with pytest.raises(ValueError): compare_many(wrong)

def test_an_arm_whose_runs_are_all_the_same_has_no_interval_as_a_winner():
    found = best(dict(a=[.7, .7, .7], b=[.6, .61, .62]))
    assert 'all the same, so its mean has no interval' in found.words and found.winner_low is None and '70.00 to 70.00' not in found.words
    json.dumps(found.to_dict(), allow_nan=False)

# ---- what is read

def test_a_race_of_a_table_counts_its_seeds_from_the_lowest_on():
    "Whoever sorts a table would else decide it"
    rng = np.random.default_rng(9)
    b, v = .9+.006*rng.standard_normal((2, 30))
    table = pd.DataFrame(dict(arm=['baseline']*30+['v']*30, seed=[*range(30)]*2, acc=[*b, *v]))
    by_text = table.assign(seed='s' + table.seed.map('{:02}'.format)) # such as the ids of runs
    whole = compare(b, v, sequential=True)
    ahead = np.argsort(b-v)
    for c in (compare_many(table.sort_values('acc'), sequential=True)['v'], compare_many(by_text.sort_values('acc'), sequential=True)['v'],
        compare_many(table.sort_values('acc').astype(dict(seed=str)), sequential=True)['v'],
        compare(pd.Series(b, range(30))[ahead], pd.Series(v, range(30))[ahead], sequential=True)):
        assert (c.n, c.low, c.high, c.verdict) == (whole.n, whole.low, whole.high, whole.verdict)

def test_a_seed_is_one_seed_as_number_and_as_text():
    b, v = normal(1, 8), normal(2, 8)
    for text in ('{}', '{}.0', ' {} '):
        table = pd.DataFrame(dict(arm=['baseline']*8+['v']*8, seed=[*range(8), *map(text.format, range(8))], acc=[*b, *v]))
        assert compare_many(table)['v'].corr == compare(b, v).corr
    assert compare(pd.Series(b, range(8)), pd.Series(v, [*map(str, range(8))])).corr == compare(b, v).corr

@pytest.mark.parametrize('blank', [None, math.nan, '', pd.NA])
def test_a_status_that_nothing_says_is_no_status(blank):
    b, v = normal(1, 8), normal(2, 8)
    table = pd.DataFrame(dict(arm=['baseline']*8+['v']*8, seed=[*range(8)]*2, acc=[*b, *v]))
    by_arm = {a: [dict(seed=i, acc=x, status=blank) for i,x in enumerate(arm)] for a,arm in (('baseline', b), ('v', v))}
    for runs in (table.assign(status=[blank]*16), by_arm):
        c = compare_many(runs)['v']
        assert c.low == compare(b, v).low and 'It is not known whether runs failed' in c.sentence()

@pytest.mark.parametrize('runs,says', [
    (dict(baseline={0:.9, 1:.91}, v={0:.9, 1:.92}), "'baseline' is a dict: .* a Series by seed"),
    ([dict(arm='baseline', seed=0, acc=.9)], 'a DataFrame with one row per run'),
    (pd.DataFrame(dict(arm=['a','a','b','b'], seed=[0,1]*2, acc=['90.06%','91.2%','90.1%','90.2%'])), "'a' holds '90.06%', which is not a number"),
    (dict(baseline=[.9, .91], v=[.9, [.91]]), "'v' holds \\[0.91\\], which is not a number")])
@pytest.mark.parametrize('n_images', [None, 500])
def test_what_is_no_table_of_runs_is_refused_in_words(runs, says, n_images):
    with pytest.raises(ValueError, match=says): compare_many(runs, 'a' if isinstance(runs, pd.DataFrame) else 'baseline', n_images=n_images)

# ---- one published number, and the best of several arms, by the one rule

def arms(**of):
    "A table of arms: accuracies, None where a run diverged"
    return pd.DataFrame([dict(arm=a, seed=i, acc=math.nan if o is None else o, status='diverged' if o is None else 'ok') for a,x in of.items() for i,o in enumerate(x)])

def test_an_answer_to_a_number_is_said_as_one_to_a_baseline():
    close = [.9, .901, .902, .903, .904]
    runs = arms(w=[None]*4, v=[None]*4+[.9211, .9204, .9199, .9151, .9261, .9205], u=close)
    w, v, u = against(runs, .895)
    assert {o.family for o in (w, v, u)} == {3} and w.verdict_words == 'undecided (4 of 4 diverged)' and w.n == 0
    assert v.verdict_words == 'better when it trains, by more than 1 pp (4 of 10 diverged)' and v.verdict_words in v.sentence()
    assert v.p_verdict == pytest.approx(3*v.exact.p) and 'of "better"' in v.sentence()
    assert u.verdict_words == 'better, though by less than 1 pp' and u.to_dict()['verdict_words'] == u.verdict_words
    assert against(arms(u=close), .902)[0].verdict_words.startswith('equivalent: nothing beyond 0.')
    lost = against(arms(v=[None]*10, u=close), .9)[0]
    assert lost.verdict_words == 'worse over all seeds (10 of 10 diverged)' and lost.p_verdict == pytest.approx(2*2*.5**10)

def test_an_arm_that_cannot_be_tested_keeps_its_place_and_the_others_their_answers():
    constant, single, good = against(arms(c=[.9]*4, one=[.91], good=[.9, .91, .92]), .9)
    assert constant.verdict_words == 'undecided: every run of an arm is the same' and 'Nothing to test with' in constant.sentence()
    assert single.verdict_words.startswith("not comparable: 'one' has 1 finished run") and single.to_dict()['p'] is None
    assert good.family == 3 and good.interval[0] is not None
    found = best(arms(c=[.9, .91, .904], one=[.91], lost=[None]*4, good=[.95, .96, .954], risky=[.97, None, .974, .98]))
    why = {o['arm']: o['why'] for o in found.arms}
    assert found.k == 5 and [o for o,reason in why.items() if reason] == ['one', 'lost'] and "'one' has 1 finished run" in found.words
    assert 'risky is the best of 3 arms that can be compared when it trains (1 of 4 diverged)' in found.words

# ---- what looks like something else

def test_a_small_count_that_may_be_percent_is_told():
    with pytest.warns(UserWarning, match=r'64 is read as a count of 500 images, 12.8 %. If it is percent, divide by 100'): compare([62,64,61,63], [64,63,63,62], n_images=500)
    with pytest.warns(UserWarning, match='count of 500'): compare_many({'baseline':[62,64,61,63], 'v':[64,63,63,62]}, n_images=500)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        compare([310,320,305], [312,322,301], n_images=500); compare([62,64,61], [61,64,66], n_images=100); compare([.62,.64,.61], [.6,.61,.62], n_images=500)

def bits_of(rng, accs, n_images=400): return np.array([rng.permutation(n_images)<round(a*n_images) for a in accs])

def test_differences_that_vary_less_than_images_flip_are_told():
    rng = np.random.default_rng(0)
    a,b = [.72,.73,.705],[.75,.76,.7325] # 3.00, 3.00 and 2.75 points, of images that flip at random
    correct = bits_of(rng, a),bits_of(rng, b)
    assert 'probably too narrow' in notes(compare([o.mean() for o in correct[0]], [o.mean() for o in correct[1]], correct=correct))
    told = 0
    for _ in range(400):
        correct = [rng.random((3,400))<.7 for _ in range(2)]
        told += 'probably too narrow' in notes(compare(*(o.mean(1) for o in correct), correct=correct))
    assert told<=12, 'one of a hundred'

def test_an_arm_whose_pairs_could_be_seen_before_it_joined_has_the_wider_interval(tmp_path):
    def study(variants): return Study('s', variants, 4, recipe=Recipe('tiny'), root=tmp_path, env=ENV)
    rng = np.random.default_rng(1)
    study(['baseline','simple']).declare()
    for v in ('baseline','simple','self'):
        for s in range(4): write_run(of_bits(s, v, rng), tmp_path)
    assert not any(c.sequential for c in study(['baseline','simple']).compare()), 'no arm has joined'
    for when in ('before it is declared', 'after'):
        both = study(['baseline','simple','self']).compare()
        assert all(c.sequential and c.notes[0].startswith('pairs that existed before an arm joined this study: 4,') for c in both), when
        study(['baseline','simple','self']).declare()
    assert study(['baseline','simple','self']).on_file()['growth'][0]['pairs_before']==4

def test_pairs_of_declared_seeds_are_seen_also_by_who_asks_for_fewer(tmp_path):
    def study(variants, seeds): return Study('s', variants, seeds, recipe=Recipe('tiny'), root=tmp_path, env=ENV)
    rng = np.random.default_rng(1)
    study(['baseline','simple'], 4).declare()
    for v,seeds in (('baseline',range(4)), ('simple',range(4)), ('self',(2,3))):
        for s in seeds: write_run(of_bits(s, v, rng), tmp_path)
    growth, = study(['baseline','simple','self'], 2).declare()['growth']
    assert growth['pairs_before']==2 and growth['runs_before']==10
    declared = json.loads((tmp_path/'_studies'/'s.json').read_text())
    for odd in ('x', -4, 1.5):
        with pytest.raises(ValueError, match='growth cannot be read'): check_declaration('_studies/s.json', json.dumps(dict(declared, growth=[dict(growth, arms=['self'], pairs_before=odd)])).encode())

def test_an_arm_that_joins_before_its_runs_keeps_the_narrow_interval(tmp_path):
    rng = np.random.default_rng(1)
    def study(variants): return Study('s', variants, 4, recipe=Recipe('tiny'), root=tmp_path, env=ENV)
    def fill(*variants):
        for v in variants:
            for s in range(4): write_run(of_bits(s, v, rng), tmp_path)
    study(['baseline','simple']).declare()
    fill('baseline', 'simple')
    study(['baseline','simple','self']).declare()
    fill('self')
    assert not any(c.sequential for c in study(['baseline','simple','self']).compare())

def test_a_comparison_that_is_asked_for_with_the_runs_in_view_says_so(tmp_path):
    rng = np.random.default_rng(1)
    s = Study('s', ['baseline','simple','self'], 4, recipe=Recipe('tiny'), root=tmp_path, env=ENV, contrasts=[('baseline','simple','noninferior')])
    s.declare()
    for v in s.arms:
        for i in range(4): write_run(of_bits(i, v, rng), tmp_path)
    def noted(c): return any(o.startswith('asked for when the runs were there') for o in c.notes)
    assert not any(map(noted, s.compare()))
    for more,n in (([('self','simple')], 4), ([('baseline','simple')], 3), ([('self','simple','difference'), ('self','simple')], 4)):
        assert [*map(noted, s.compare(contrasts=more))]==[False]*3+[True]*(n-3), more

def test_a_diverged_run_without_a_partner_is_counted():
    rng = np.random.default_rng(0)
    acc = .6+.01*rng.standard_normal(10)
    rows = [dict(arm='baseline', seed=i, acc=acc[i], status='ok') for i in range(8)]
    rows += [dict(arm='x', seed=i, acc=acc[i]+.02 if i<8 else np.nan, status='ok' if i<8 else 'diverged') for i in range(10)]
    c, = compare_many(pd.DataFrame(rows))
    assert (c.n, c.diverged_variant, c.n_all_variant, c.diverged_baseline, c.n_all_baseline)==(8, 2, 10, 0, 8)
    assert c.verdict_words.endswith('(2 of 10 diverged, baseline 0 of 8)') and c.divergence_upper>.5
    assert 'Diverged: 2 of 10, baseline 0 of 8, with those that have no partner. No run of a pair diverged.' in c.sentence()

@pytest.mark.parametrize('sequential,n', [(False,12), (True,20)])
@pytest.mark.parametrize('lost', ['baseline','x'])
def test_a_diverged_run_without_a_partner_ranks_no_pair(sequential, n, lost):
    "Nearly all pairs lose a little, one a lot, and that asks no second question where no pair diverged"
    base, loss = .6+.01*np.random.default_rng(0).standard_normal(n), np.where(np.arange(n)==7, .05, .0012)
    rows = [dict(arm=arm, seed=i, acc=x, status='ok') for arm,accs in (('baseline',base), ('x',base-loss)) for i,x in enumerate(accs)]
    one, = compare_many(pd.DataFrame(rows), sequential=sequential)
    c, = compare_many(pd.DataFrame([*rows, dict(arm=lost, seed=n, acc=np.nan, status='diverged')]), sequential=sequential)
    assert (c.verdict, c.interval, c.p_worst_rank)==(one.verdict, one.interval, None)
    assert c.any_diverged and c.diverged_baseline+c.diverged_variant==1

def test_p_of_divergence_names_the_pairs_that_it_is_of():
    rng = np.random.default_rng(5)
    def rows(arm, n, lost): return [dict(arm=arm, seed=i, acc=np.nan if i in lost else .6+.01*rng.standard_normal(), status='diverged' if i in lost else 'ok') for i in range(n)]
    c, = compare_many(pd.DataFrame(rows('baseline', 10, {8,9}) + rows('x', 12, {0,10,11})))
    assert 'Diverged: 3 of 12, baseline 2 of 10, with those that have no partner; in pairs: 1 of 10 and 2 of 10 (p = ' in c.sentence()

def test_a_gain_of_gains_is_made_of_pairs_that_trained():
    rng = np.random.default_rng(5)
    rows = [dict(arm=arm, seed=i, acc=.6+.01*rng.standard_normal(), status='ok') for arm in 'abcd' for i in range(8)]
    rows.append(dict(arm='d', seed=8, acc=np.nan, status='diverged'))
    c = compare_many(pd.DataFrame(rows), 'a', contrasts=[tuple('abcd')]).comparisons[-1]
    assert c.why is None and 'runs without a partner, left out: seed 8 of d' in notes(c)

def test_gains_are_made_of_pairs_and_say_so():
    runs = {o:list(.6+.01*np.random.default_rng(i).standard_normal(5)) for i,o in enumerate('abcd')}
    c = compare_many(runs, 'a', contrasts=[tuple('abcd')], paired=False).comparisons[-1]
    assert c.verdict=='not comparable' and '--unpaired' in c.why

def test_a_comparison_stands_once_in_its_family():
    runs = {o:list(.6+.01*np.random.default_rng(i).standard_normal(5)) for i,o in enumerate('abc')}
    once = compare_many(runs, 'a')
    twice = compare_many(runs, 'a', contrasts=[('a','b'), ('a','c','difference')])
    assert twice.family==2 and [c.interval for c in once]==[c.interval for c in twice]
    assert compare_many(runs, 'a', contrasts=[('a','b','noninferior')]).family==3

def test_which_is_best_pairs_as_a_comparison_does():
    "Four of six seeds are shared, also where two of the others diverged"
    rng = np.random.default_rng(0)
    rows = [dict(arm='a', seed=i, acc=.6+.01*rng.standard_normal(), status='ok') for i in range(4)]
    rows += [dict(arm='b', seed=i, acc=.61+.01*rng.standard_normal() if i<4 else np.nan, status='ok' if i<4 else 'diverged') for i in range(6)]
    c, = compare_many(pd.DataFrame(rows), 'a')
    assert not c.paired and not best(pd.DataFrame(rows)).paired
    def arm(name, lost): return [dict(arm=name, seed=i, acc=np.nan if i in lost else .6+.01*rng.standard_normal(), status='diverged' if i in lost else 'ok') for i in range(10)]
    b = best(pd.DataFrame(arm('a', {0,1,2}) + arm('b', {3,4,5}) + arm('c', {6})))
    assert not b.paired and [o['n'] for o in b.arms]!=[3,3,3] and '3 of 9 seeds are shared by all arms, without runs that diverged' in b.words
    assert best(pd.DataFrame(arm('a', {0,1}) + arm('b', {0,1}))).paired

def test_seeds_that_are_left_out_stand_in_their_order():
    x = .6+np.random.default_rng(0).normal(0, .01, 13)
    c = compare(x[:9], x, seeds=([*range(9)], [*range(8), *range(9, 14)]), paired=True)
    assert 'seed 8 of baseline and seeds 9, 10, 11, 12, 13 of variant' in notes(c)

def test_gains_of_which_each_is_the_same_are_no_equal_runs():
    x = .6+np.random.default_rng(0).normal(0, .01, 3)
    c = compare_many(dict(b=x, v=x+.01, w=x+.02), None, contrasts=[('b','v','b','w')]).comparisons[0]
    assert c.constant=='every difference is the same' and '3 pairs of (v - b) and 3 pairs of (w - b)' in notes(c)

def test_what_has_no_interval_has_none_that_is_too_narrow():
    b = np.zeros((2,400)); b[:,:200] = 1
    v = b.copy(); v[:,200:240] = v[0,240:260] = v[1,260:280] = 1
    c = compare(b.mean(1), v.mean(1), correct=(b, v), n_images=400, paired=True)
    assert c.constant and c.over_images.noise.var_churn > 0 and 'too narrow' not in notes(c)

def test_ranks_of_few_runs_are_exact_where_diverged_runs_tie():
    def p_of(n, m): return compare_many(dict(a=[dict(seed=i, acc=.6+i/100) for i in range(n)], b=[dict(seed=100+i, acc=None, status='diverged') for i in range(m)]), 'a', paired=False)['b'].p_worst_rank
    for n,m in ((2,5), (3,4), (2,8)): assert p_of(n, m)==pytest.approx(2/math.comb(n+m, n))
    rng = np.random.default_rng(0)
    for _ in range(40): # every way to deal the values
        both, m = rng.integers(-1, 4, rng.integers(4, 9))*1., 2
        sums = np.array([rankdata(both)[[*o]].sum() for o in combinations(range(len(both)), m)])
        seen = rankdata(both)[-m:].sum()
        assert rank_sum_p(both[:-m], both[-m:])==pytest.approx(min(1, 2*min((sums<=seen).mean(), (sums>=seen).mean())))

def test_a_family_has_no_fewer_comparisons_than_p_values():
    with pytest.raises(ValueError, match='3 p-values'): holm([.04,.045,.049], k=1)

def test_a_p_that_an_earlier_look_gave_says_so():
    def sentence(n):
        d = np.array([.012,.008,.011,.002,.013,-.01,.02,-.03,.02,.01,-.02][:n])
        return compare([.5]*n, list(.5+d), seeds=range(n), sequential=True).sentence()
    assert 'of no difference)' in sentence(5) and 'of no difference at an earlier seed)' in sentence(11)

def test_no_power_is_planned_that_chance_gives():
    for kw in (dict(target=.04), dict(alpha=.4, target=.3)):
        with pytest.raises(ValueError, match='ask for more'): plan(5, .01, **kw)

# ---- words and numbers of another type

B,V = [.62,.644,.602,.632,.618],[.652,.658,.634,.672,.64]

@pytest.mark.parametrize('paired,test', [(False,'Welch t'),(np.False_,'Welch t'),(0,'Welch t'),(True,'paired t'),(np.True_,'paired t'),(1,'paired t'),(None,'paired t')])
def test_pairing_is_asked_for_in_any_form_of_yes_and_no(paired, test):
    assert compare(B, V, paired=paired).test==test
    assert compare_many(dict(baseline=B, simple=V), paired=paired)['simple'].test==test

@pytest.mark.parametrize('paired', ['False','no',2,[False]])
def test_pairing_is_no_text(paired):
    with pytest.raises(ValueError, match='paired must be True, False or None'): compare(B, V, paired=paired)
    with pytest.raises(ValueError, match='paired must be True, False or None'): compare_many(dict(baseline=B, simple=V), paired=paired)

ODD = dict(alpha=(dict(alpha='0.05'), "alpha must be a number, got '0.05'"), delta=(dict(delta=None), 'delta must be a number'), one_seed=(dict(seeds=4), 'seeds must be a list'),
    seeds=(dict(seeds=[[1],[2],[3],[4],[5]]), 'seeds must be a list'), images=(dict(n_images=[500]), 'number of validation images'), names=(dict(names=('a',)), 'names must be those of two arms'))
@pytest.mark.parametrize('kind', ODD)
def test_an_argument_of_another_type_is_named(kind):
    given, says = ODD[kind]
    with pytest.raises(ValueError) as e: compare(B, V, **given)
    assert says in str(e.value)

def test_a_contrast_that_is_a_text_is_named():
    with pytest.raises(ValueError, match="contrast 'baseline': name two different arms"): compare_many(dict(baseline=B, simple=V), contrasts=('baseline','simple'))

def test_a_plan_of_minus_infinity_is_refused():
    with pytest.raises(ValueError, match='two seeds'): plan(-math.inf, .01)

PLANS = dict(text=(('5',.01), {}, "n must be a number, got '5'"), seeds=((1,.01), {}, 'two seeds or more, and a whole number of them, got 1'), sd=((5,.78), {}, 'an sd as a fraction, 0.0075 for 0.75 pp, got 0.78'),
    corr=((5,.01), dict(corr=1), 'a correlation between -1 and 1, got 1'), effect=((5,.01), dict(effect=0), 'an effect as a fraction'), variants=((5,.01), dict(variants=1.5), 'at least one variant, and a whole number of them, got 1.5'),
    sd_runs=((5,.01), dict(n_sd=1), 'an sd from two runs or more, got one from 1'), minutes=((5,.01), dict(minutes=-1), 'cannot take -1 minutes'))
@pytest.mark.parametrize('kind', PLANS)
def test_a_plan_names_the_one_number_that_is_none(kind):
    args, more, says = PLANS[kind]
    with pytest.raises(ValueError) as e: plan(*args, **more)
    assert says in str(e.value) and str(e.value).count('got')<=1

@pytest.mark.parametrize('k', [0,-1,.5,'1',math.inf])
def test_a_race_of_no_variants_is_refused(k):
    with pytest.raises(ValueError, match='k must be a whole number of variants'): race_path([.1,.12,.13,.11], k=k)

def rosner(x): # as it is defined, one run after another
    from scipy import special as sp
    from simpleattn.stats import _FAR
    left,far,outside = [*range(len(x))],[],[]
    while len(left)>4 and len(far)<max(1, len(x)//5):
        far.append(left.pop(int(np.abs(x[left]-x[left].mean()).argmax())))
        rest,n = x[left],len(left)
        if rest.std(ddof=1)<1e-9: break
        t = (x[far[-1]]-rest.mean())/(rest.std(ddof=1)*math.sqrt(1+1/n))
        if 2*(n+1)*sp.stdtr(n-1, -abs(t))<_FAR: outside = [*far]
    return sorted(outside)

def test_runs_far_outside_are_those_of_the_definition():
    from simpleattn.stats import _far_from_the_mean
    rng,found = np.random.default_rng(0),0
    for i in range(300):
        x = .6+.01*rng.normal(size=rng.integers(3, 40))
        far = rng.integers(0, len(x), size=rng.integers(0, 4))
        x[far] += rng.choice([-.2,.1,.3], size=len(far))
        found += bool(rosner(x))
        assert sorted(_far_from_the_mean(x))==rosner(x)
    assert 100<found<300
