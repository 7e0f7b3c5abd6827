"""Values of the statistics that independent code computed (scipy, statsmodels, quadrature, counting): the inputs stand in golden/cases.json.xz, the values, in
their order, in golden/right.json.xz. Fields have the names of their time; here they are asked by today's. What was adjusted, or read off several tests, then,
is asked of the functions that remain."""
import pytest
import numpy as np, pandas as pd
from scipy import stats
from conftest import ROOT
from simpleattn.plan import detectable, plan, power, race_state, read_answer, runs_needed, runs_needed_equivalence
from simpleattn.stats import compare, compare_many, compare_summary, decompose, holm, signflip_p
from test_golden import make

INPUTS, RIGHT = make.cases(), make.read('right.json.xz')

def same(said, right):
    "Equal to 1e-9"
    assert {*right} <= {*said}
    for k,expected in right.items():
        value = said[k]
        assert value is expected if expected is None else value == pytest.approx(expected, rel=1e-9, abs=1e-12), k

def but(right, *names): return {k: v for k,v in right.items() if k not in names}

def of_comparison(i, right):
    c = compare(**i)
    same(c.to_dict() | dict(runs_needed=c.runs_needed, runs_needed_upper=c.runs_needed_upper), but(right, 'verdict'))
    assert c.verdict == read_answer(c.low, c.high, c.delta)

def of_family(i, right):
    df = pd.DataFrame(i['rows'], columns=['arm', 'seed', 'acc'])
    family = compare_many(df, n_images=i['n_images'])
    adjusted = zip(holm([c.p for c in family]), holm([c.tost_p for c in family]))
    assert len(family) == len(right)
    for c,(p,tost),expected in zip(family, adjusted, right):
        alone = c.estimate.interval(c.alpha)
        said = c.to_dict() | dict(low=alone.low, high=alone.high, low_sim=c.low, high_sim=c.high, p_adj=p, tost_p_adj=tost, runs_needed=c.runs_needed)
        same(said, but(expected, 'verdict'))
        assert c.verdict == read_answer(expected['low_sim'], expected['high_sim'], c.delta)

def with_diverged(i, right):
    c, = compare_many(pd.DataFrame(i['rows'], columns=['arm', 'seed', 'acc', 'status']), n_images=i.get('n_images'))
    same(c.to_dict(), but(right, 'verdict_seen'))
    worse = c.worst_rank_sign < 0 and 5*right['p_worst_rank'] < c.alpha
    assert c.verdict == ('worse' if worse else read_answer(right['low'], right['high'], c.delta))

def of_summary(i, right): same(compare_summary(*i['args']).to_dict(), right)

def of_race(i, right):
    state = race_state(i['d'], i['delta'], i['alpha'], i['k'])
    wide = state.interval(2*state.alpha) or (None, None)
    same(state.to_dict() | dict(low_eq=wide[0], high_eq=wide[1]), but(right, 'verdict', 'decided_at'))
    if right['verdict'] != 'equivalent': assert (state.verdict, state.decided_at) == (right['verdict'], right['decided_at'])
    else: assert state.decided_at is None or state.verdict == 'equivalent' and state.decided_at >= right['decided_at'] # by an interval at twice alpha, then

def of_split(i, right): same(decompose(i['correct']).to_dict(), right)

def of_gains(i, right):
    c, = compare_many(dict(zip('abcd', [*i['first'], *i['second']])), None, contrasts=['abcd'])
    same(c.to_dict(), right)

def of_new_images(i, right):
    b, v = np.array(i['b']), np.array(i['v'])
    c = compare(b.mean(1), v.mean(1), correct=(b, v), n_images=b.shape[1], paired=i.get('paired'))
    estimate = c.over_images.estimate
    half = max(stats.t.ppf(1-c.alpha/2, c.new_df)*c.new_se, (c.high-c.low)/2) # no narrower than on this set
    same(c.to_dict(), dict(new_low=c.diff-half, new_high=c.diff+half))
    expected = but(right, 'rule')
    if c.n-1 > right.get('new_df', 0): expected = dict(new_se=right['new_se'], new_df=c.n-1) # the rest was at fewer degrees of freedom
    same(c.to_dict() | dict(new_p=estimate.p, new_tost_p=max(estimate.tost(c.delta))), expected)

def of_design(i, right):
    e, n = i['effect'], i['n']
    how = dict(sd=i['sd'], alpha=i['alpha'], paired=i['paired'])
    needed, equivalent = (f(e, target=i['target'], **how) for f in (runs_needed, runs_needed_equivalence))
    found = detectable(n, target=i['target'], **how)
    same(dict(runs_needed=needed, runs_needed_equivalence=equivalent, power=power(n, e, **how), detectable_power=power(n, found, **how)), right)

def of_plan(i, right):
    p = plan(**i)
    tests = runs_needed_equivalence(p.delta, p.sd_diff, p.target, p.alpha/p.variants) # each test at alpha, then
    same(p.to_dict() | dict(runs_equivalence=tests), right)
    assert p.runs_equivalence >= tests

def of_store(i, right):
    from simpleattn.study import plan_study
    said = plan_study(i['recipe'], i['runs'], root=ROOT/i['root'], env=make.ENV)
    assert said.sd_diff == pytest.approx(right['sd_diff'], rel=2e-5) # from sds that were rounded
    tests = runs_needed_equivalence(said.delta, said.sd_diff) # each at alpha, then
    assert (said.runs_needed, tests, said.runs_needed_upper) == tuple(right[k] for k in ('runs_needed', 'runs_equivalence', 'runs_needed_upper'))

def of_signs(i, right): same(dict(p=signflip_p(i['d'])), right)

KINDS = {'compare':of_comparison, 'compare_many':of_family, 'compare_many diverged':with_diverged, 'compare_summary':of_summary, 'race_state':of_race,
    'decompose':of_split, 'decompose_tie':of_split, 'diff_of_diffs':of_gains, 'new_images':of_new_images, 'new_images_tiny':of_new_images, 'plan':of_design,
    'plan_full':of_plan, 'signflip_p':of_signs, 'mixed_units':of_comparison, 'plan_study_woof_cpu':of_store}
ELSEWHERE = 'csv_two_datasets', 'csv_counts_with_n_images' # results of others

def test_every_value_has_its_input():
    assert [kind for kind,_ in INPUTS] == [kind for kind,_ in RIGHT] and {kind for kind,_ in INPUTS} == {*KINDS, *ELSEWHERE}

@pytest.mark.parametrize('n', range(len(INPUTS)))
def test_a_case_has_the_right_values(n):
    kind, i = INPUTS[n]
    if kind in KINDS: KINDS[kind](i, RIGHT[n][1])
