"Pictures: what stands on the axes is what the numbers say, in their units and on their side"
import matplotlib.pyplot as plt,numpy as np,pandas as pd,pytest
from matplotlib.collections import PathCollection
from scipy import stats
from simpleattn.plots import plot_cost,plot_curves,plot_differences,plot_race,plot_runs
from simpleattn.stats import compare_many,race_seeds

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

def test_differences_stand_on_their_side_with_their_intervals(runs):
    cs = compare_many(runs)
    ax = plot_differences(cs)
    assert diamonds(ax)==[(0.,0.), *(pytest.approx((100*c.diff, y)) for y,c in enumerate(cs, 1))] and cs['low'].diff<0<cs['high'].diff
    spans = [l.get_xdata() for l in ax.lines if l.get_marker()!='D' and len(set(l.get_ydata()))==1]
    assert [list(o) for o in spans]==[pytest.approx([100*o for o in c.interval]) for c in cs]

def test_curves_are_means_between_the_worst_and_the_best():
    ax = plot_curves(dict(baseline=[[dict(acc=.1), dict(acc=.4)], [dict(acc=.3), dict(acc=.5)]]))
    assert ax.lines[0].get_xydata().tolist()==[pytest.approx([1,20]), pytest.approx([2,45])]
    ys = ax.collections[0].get_paths()[0].vertices[:,1]
    assert (ys.min(),ys.max())==pytest.approx((10,50))

def test_costs_are_medians_beside_means(runs):
    ax = plot_cost(runs, 'baseline')
    assert diamonds(ax)==[pytest.approx((runs[runs.arm==a].train_seconds.median(), 100*runs[runs.arm==a].acc.mean())) for a in ('baseline','low','high')]
    assert points(ax)[0][0]==pytest.approx((10, 100*runs.acc[0]))

def test_a_race_is_drawn_in_points_by_seed():
    b = .8+.01*np.sin(np.arange(9)); v = b+.001*np.tile([1,-1,2], 3)
    states = [dict(arm='v', **o.to_dict()) for o in race_seeds(b, v)]
    line, = [l for l in plot_race(states).lines if l.get_marker()=='o']
    assert line.get_xdata().tolist()==[o['n'] for o in states] and line.get_ydata().tolist()==pytest.approx([100*o['mean'] for o in states])
