"Pictures: what stands on the axes is what the numbers say, in their units and on their side"
import math
from dataclasses import replace
import matplotlib.pyplot as plt,numpy as np,pandas as pd,pytest
from matplotlib.collections import PathCollection
from scipy import stats
from simpleattn.plan import Plan,plan,read_answer
from simpleattn.plots import answer_colours,plot_cost,plot_curves,plot_differences,plot_power,plot_race,plot_runs,plot_study
from simpleattn.stats import compare,compare_many,race_seeds

@pytest.fixture(autouse=True)
def closed(): yield; plt.close('all')

@pytest.fixture(scope='module')
def runs():
    "Seven seeds of three arms: `low` loses, `high` gains"
    luck = np.random.default_rng(0).normal(size=7)*.01
    rows = [dict(arm=a, seed=s, acc=.7+gain+luck[s]+.002*(s%3)*(a!='baseline'), train_seconds=10.+s+5*(a=='high'))
        for a,gain in (('baseline',0),('low',-.03),('high',.02)) for s in range(7)]
    return pd.DataFrame(rows)

def diamonds(ax): return [(float(x),float(y)) for l in ax.lines if l.get_marker()=='D' for x,y in l.get_xydata()]
def points(ax): return [c.get_offsets().tolist() for c in ax.collections if isinstance(c, PathCollection)]
def bars(ax): return [np.array(s) for c in ax.containers for l in c.lines[2] for s in l.get_segments()]

def test_runs_are_points_in_percent_and_bars_are_t_intervals(runs):
    ax = plot_runs(runs, 'baseline')
    for y,a in enumerate(('baseline','low','high')):
        acc = 100*runs[runs.arm==a].acc.to_numpy()
        assert [x for x,_ in points(ax)[y]]==pytest.approx(acc)
        assert diamonds(ax)[y]==pytest.approx((acc.mean(), y+.2))
        assert bars(ax)[y][:,0].tolist()==pytest.approx(stats.t.interval(.95, 6, acc.mean(), stats.sem(acc)))

def said(ax): return [o.get_text() for o in ax.texts]

def test_a_picture_reads_runs_as_a_comparison_does():
    a,b = [.62,.64,.61,.63,.60],[.65,.66,.63,.66,.64]
    rows = pd.DataFrame(dict(variant=['r']*5+['s']*5, seed=[*range(5)]*2, accuracy=a+b))
    plain = said(plot_runs(rows, 'r'))
    assert plain==['r','62.00 %, sd 1.58, n 5','s','64.80 %, sd 1.30, n 5']
    for other in (rows.assign(status='finished'), rows.set_index(['variant','seed']), dict(r=a, s=b), rows.assign(seed=pd.array([0,1,2,3,pd.NA]*2, dtype='Int64'))):
        assert said(plot_runs(other, 'r'))==plain
    assert said(plot_runs({0:a, 1:b}, 0))[0]=='0'
    assert said(plot_runs(dict(r=[62,64], s=[65,66]), 'r', n_images=100))[1]=='63.00 %, sd 1.41, n 2'
    ended = rows.assign(status=['ok']*4+['diverged','ok','ok','failed','ok','ok'])
    cs = compare_many(ended, 'r')
    assert said(plot_study(ended, cs)[0])==['r','62.50 %, sd 1.29, n 4','1 diverged','s','65.25 %, sd 0.96, n 4']

def test_a_single_run_is_checked_too():
    for acc in (62., np.nan):
        with pytest.raises(ValueError): plot_runs(pd.DataFrame(dict(arm=['r','s'], acc=[.6,acc])), 'r')

def test_differences_stand_on_their_side_with_their_intervals(runs):
    cs = compare_many(runs)
    ax = plot_differences(cs)
    assert diamonds(ax)==[(0.,0.), *(pytest.approx((100*c.diff, y)) for y,c in enumerate(cs, 1))] and cs['low'].diff<0<cs['high'].diff
    spans = [l.get_xdata() for l in ax.lines if l.get_marker()!='D' and len(set(l.get_ydata()))==1]
    assert [list(o) for o in spans]==[pytest.approx([100*o for o in c.interval]) for c in cs]

def test_the_colour_of_an_interval_is_that_of_its_answer(runs):
    cs = compare_many(runs)
    colour = {tuple(l.get_ydata()):l.get_color() for l in plot_differences(cs).lines if l.get_marker()!='D'}
    assert (cs['low'].verdict,cs['high'].verdict)==('worse','better')
    assert (colour[1,1],colour[2,2])==(answer_colours['worse'],answer_colours['better'])

def test_a_legend_hides_no_run(runs):
    states = [dict(arm=a, **o.to_dict()) for a in ('low','high') for o in race_seeds(*(runs[runs.arm==o].acc.to_numpy() for o in ('baseline',a)))]
    for ax in (plot_cost(runs, 'baseline'), plot_race(states), plot_curves(dict(baseline=[[dict(acc=.1), dict(acc=.4)]])), plot_power(plan(8, .02, 12, corr=None))):
        ax.figure.canvas.draw()
        legend,axes = (o.get_window_extent() for o in (ax.get_legend(), ax))
        assert legend.y1<axes.y0 and legend.y0>=0

def test_a_race_of_one_or_two_seeds_is_in_sight():
    states = [dict(arm='v', **o.to_dict()) for o in race_seeds([.5,.5], [.6,.55])]
    low,high = plot_race(states).get_ylim()
    assert low<5<high

def test_curves_are_means_between_the_worst_and_the_best():
    ax = plot_curves(dict(baseline=[[dict(acc=.1), dict(acc=.4)], [dict(acc=.3), dict(acc=.5)]]))
    assert ax.lines[0].get_xydata().tolist()==[pytest.approx([1,20]), pytest.approx([2,45])]
    ys = ax.collections[0].get_paths()[0].vertices[:,1]
    assert (ys.min(),ys.max())==pytest.approx((10,50))

def test_costs_are_medians_beside_means(runs):
    ax = plot_cost(runs, 'baseline')
    assert diamonds(ax)==[pytest.approx((runs[runs.arm==a].train_seconds.median(), 100*runs[runs.arm==a].acc.mean())) for a in ('baseline','low','high')]
    assert points(ax)[0][0]==pytest.approx((10, 100*runs.acc[0]))
    assert [t.get_text() for t in ax.get_legend().texts]==['baseline, 13 s','low, 13 s','high, 18 s']

@pytest.mark.parametrize('values', [(.002,.03), (.3,2), (3,2000)])
def test_each_tick_of_a_cost_has_a_number_of_its_own(values):
    ax = plot_cost(pd.DataFrame(dict(arm=['baseline','low'], acc=.8, tera=values)), 'baseline', 'tera', 'FLOPs', 'TFLOPs')
    ax.figure.canvas.draw()
    ticks = [o.get_text() for o in ax.get_xticklabels() if o.get_text()]
    assert len(ticks)>2 and len({*ticks})==len(ticks) and [float(o.replace(',', '')) for o in ticks]==pytest.approx([*ax.get_xticks()][:len(ticks)], rel=1e-9)

def test_a_race_is_drawn_in_points_by_seed():
    b = .8+.01*np.sin(np.arange(9)); v = b+.001*np.tile([1,-1,2], 3)
    states = [dict(arm='v', **o.to_dict()) for o in race_seeds(b, v)]
    line, = [l for l in plot_race(states).lines if l.get_marker()=='o']
    assert line.get_xdata().tolist()==[o['n'] for o in states] and line.get_ydata().tolist()==pytest.approx([100*o['mean'] for o in states])

# ---- the power curve

def curves(ax): return [l for l in ax.lines if len(l.get_xdata())>2]

def t_power(n, effect, sd, alpha):
    "By scipy's noncentral t: the chance that the paired interval at alpha lies above 0"
    return stats.nct.sf(stats.t.ppf(1-alpha/2, n-1), n-1, effect*n**.5/sd)

def test_the_power_curve_is_that_of_the_noncentral_t_at_alpha_over_k():
    p = plan(8, .02, 12, corr=None, delta=.015, variants=3)
    better,_ = curves(plot_power(p))
    for n,chance in better.get_xydata(): assert chance==pytest.approx(100*t_power(int(n), .015, .02, .05/3), abs=1e-6)

@pytest.mark.parametrize('n,sd,variants,paired', [(3,.002,1,True), (4,.004,1,True), (20,.02,2,True), (40,.02,1,True), (3,.003,1,False), (12,.008,3,False)])
def test_the_curves_are_the_answers_of_simulated_studies(n, sd, variants, paired):
    "Of the rule: at 0 an interval that leaves 0 out is not called equivalent, and below 0 none is better"
    p = Plan(n, sd, .015, .005, .05, variants, paired=paired)
    rng = np.random.default_rng(0)
    x = rng.normal(0, sd, (2 if not paired else 1, 40_000, n))
    shift = x[0].mean(1) if paired else x[0].mean(1)-x[1].mean(1)
    s = x.std(2, ddof=1)
    half = stats.t.ppf(1-.025/variants, len(x)*(n-1))*(s**2).mean(0)**.5*(len(x)/n)**.5 # of one sd, as a plan has it
    def share(answer, gain): return np.mean([read_answer(m-h, m+h, .015)==answer for m,h in zip(shift+gain, half)])
    better,equivalent = (dict(o.get_xydata()) for o in curves(plot_power(p)))
    assert better[n]==pytest.approx(100*share('better', .005), abs=.8) and equivalent[n]==pytest.approx(100*share('equivalent', 0), abs=.8)

def test_with_seeds_enough_equal_arms_are_called_equivalent_in_all_but_alpha():
    assert Plan(500, .004, .015, .015, .05, 2).power_equivalent(500)==pytest.approx(.975)

def test_an_answer_that_no_number_of_seeds_gives_does_not_widen_the_axis():
    p = plan(8, .02, 12, corr=None, target=.96)
    assert p.never_equivalent and p.runs_needed and plot_power(p).get_xlim()[1]<2*p.runs_needed

def test_its_band_is_that_of_the_80_percent_interval_of_the_sd():
    p = plan(8, .02, 12, corr=None, delta=.015)
    low,high = (.02*(11/stats.chi2.ppf(o, 11))**.5 for o in (.9,.1))
    assert p.sd_band==pytest.approx((low,high))
    vertices = plot_power(p).collections[0].get_paths()[0].vertices
    at_8 = sorted({round(float(y), 6) for x,y in vertices if x==8})
    assert at_8==pytest.approx([100*t_power(8, .015, o, .05) for o in (high,low)], abs=1e-5)

def marked(ax): return {l.get_label():l.get_xdata()[0] for l in ax.lines if 'seeds' in l.get_label()}

def test_seeds_that_are_planned_are_told_from_those_that_are_there():
    planned = plan(5, .02, 12, corr=None)
    assert marked(plot_power(replace(planned, there=40)))=={'5 seeds planned':5, '40 seeds are there':40}
    assert marked(plot_power(replace(planned, there=5)))=={'5 seeds are there':5} and marked(plot_power(replace(planned, there=0)))=={'5 seeds planned':5}
    assert plot_power(replace(planned, there=40)).get_xlim()[1]>40
    seen = compare([.8,.81,.79,.82], [.81,.8,.8,.83])
    assert marked(plot_power(seen.plan))=={'4 seeds are there':4}

def test_the_seeds_and_the_hours_are_marked():
    ax = plot_power(plan(8, .02, 12, corr=None, minutes=6, variants=2))
    assert marked(ax)=={'8 seeds planned':8}
    ax.figure.canvas.draw()
    top, = ax.child_axes
    assert top.get_xlim()==pytest.approx([n*3*6/60 for n in ax.get_xlim()])

def test_a_stated_sd_has_no_band_and_a_plan_without_minutes_no_hours():
    ax = plot_power(plan(8, .02, corr=None))
    assert not ax.child_axes and 'band' not in ax.get_legend().get_title().get_text()

@pytest.mark.parametrize('sd,effect', [(.5,.001), (.0005,.05)])
def test_it_is_drawn_where_no_number_of_seeds_is_enough_and_where_two_are(sd, effect):
    ax = plot_power(plan(2, sd, 20, corr=None, effect=effect))
    assert all(0<=y<=100+1e-9 for l in curves(ax) for y in l.get_ydata()) and len(curves(ax))==2

def test_the_picture_says_of_which_runs_an_answer_holds():
    b = .6+.005*np.random.default_rng(0).standard_normal(20)
    rows = [dict(arm='baseline', seed=i, acc=o, status='ok') for i,o in enumerate(b)]
    for arm,gain,lost in (('lost', .05, 15), ('equal', .0, 1), ('gain', .02, 1)):
        noise = .003*np.random.default_rng(len(rows)).standard_normal(20)
        rows += [dict(arm=arm, seed=i, acc=math.nan if i < lost else b[i]+gain+noise[i], status='diverged' if i < lost else 'ok') for i in range(20)]
    cs = compare_many(pd.DataFrame(rows))
    ax = plot_differences(cs)
    said = '\n'.join(o.get_text() for o in ax.texts)
    assert 'over all seeds\nbetter when it trains, by more than 1 pp\n15 of 20 diverged, baseline 0 of 20' in said
    assert 'when it trains, nothing beyond' in said and 'when it trains, by more than 1 pp\n1 of 20 diverged, baseline 0 of 20' in said
    colour_of = {o.get_ydata()[0]: o.get_color() for o in ax.lines if len(o.get_xdata()) == 2 and o.get_ydata()[0] == o.get_ydata()[1] != 0}
    assert colour_of == {row: answer_colours[c.answer] for row,c in enumerate(cs, 1)} # the interval is that of the runs that trained

# ---- one arm far away, and long names

def of_many_sizes():
    rng = np.random.default_rng(0)
    base = .9+.004*rng.standard_normal(8)
    gains = {'self':.002, 'simple':-.004, 'sasa':.006, 'wide':.015, 'replace4-with-a-very-long-name@2.-1+3.-1':.001, 'other':-.02, 'broken':-.63}
    return dict(baseline=base) | {arm: base+gain+.003*rng.standard_normal(8) for arm,gain in gains.items()}

def test_one_arm_far_away_hides_neither_the_margin_nor_the_others():
    cs = compare_many(of_many_sizes())
    ax = plot_differences(cs)
    ax.figure.canvas.draw()
    def pixels(x): return float(ax.transData.transform((x, 0))[0])
    assert pixels(1)-pixels(-1) > 50 # the margin
    far, inside = cs['broken'], [c for c in cs if c.arm != 'broken']
    low, high = ax.get_xlim()
    assert all(low < 100*c.low and 100*c.high < high for c in inside) and 100*far.high < low
    row = [*cs].index(far)+1
    assert [line.get_marker() for line in ax.lines if line.get_ydata()[0] == row and line.get_marker() in '<>'], 'an arrow says that it goes on'
    assert f'{100*far.diff:.2f} pp' in [t.get_text() for t in ax.texts]
    near = compare_many({k:v for k,v in of_many_sizes().items() if k != 'broken'})
    assert not [line for line in plot_differences(near).lines if line.get_marker() in ('<','>')]

@pytest.mark.parametrize('draw', [lambda runs,cs: plot_differences(cs), lambda runs,cs: plot_study(runs, cs)[0], lambda runs,cs: plot_runs(runs, 'baseline')])
def test_a_picture_is_as_wide_as_its_labels(draw, recwarn):
    arms = of_many_sizes()
    runs = pd.DataFrame([dict(arm=a, seed=i, acc=o) for a,x in arms.items() for i,o in enumerate(x)])
    figure = draw(runs, compare_many(arms)).figure
    figure.canvas.draw()
    assert not [o for o in recwarn if 'collapsed' in str(o.message)]
    page = figure.bbox
    for ax in figure.axes:
        for text in ax.texts:
            box = text.get_window_extent()
            assert page.x0-1 <= box.x0 and box.x1 <= page.x1+1, text.get_text()

def test_rows_that_are_no_arms_beside_the_baseline_are_named():
    import pandas as pd
    rng = np.random.default_rng(0)
    arms = {k:.6+.01*rng.normal(size=6) for k in ('baseline','self','simple')}
    runs = pd.DataFrame([dict(arm=k, acc=x, seed=i) for k,o in arms.items() for i,x in enumerate(o)])
    def said(contrasts): return [t.get_text() for t in plot_study(runs, compare_many(runs, contrasts=contrasts))[1].texts]
    assert any('simple - self' in o or 'simple against self' in o or o.startswith('simple') for o in said([('self','simple')])) and 'simple' not in said([])
