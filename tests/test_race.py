"""Races: seeds in their order until every arm is decided, whatever finishes first, and the same again after a stop"""
import json
import numpy as np,pytest
from conftest import bits
from test_runs import a_run
from simpleattn import engines
from simpleattn.engines import Ended
from simpleattn.recipes import CliError,Recipe
from simpleattn.report import make_report,write_report
from simpleattn.runs import pack_bits,this_env,write_failure,write_run
from simpleattn.plan import divergence_race_p,race_path,race_seeds,race_state
from simpleattn.study import Study,load_study,plan_study

TINY,ENV,N = Recipe('tiny'), this_env('cpu'), 1000
NOISE = np.tile([.002,-.002,.001,-.001], 10)
GAIN = {'baseline':0*NOISE, 'simple':.03+NOISE, 'self':NOISE, 'symmetric':20*NOISE} # better, equivalent, undecided for long

class Planned:
    "An engine whose runs have accuracies known beforehand; it finishes the last submitted first"
    log,workers,stop,gain,gone,flight = [],1,None,GAIN,{},0
    def __init__(self, workers=None, **kw): self.workers,self.tasks = workers or 1,[]; type(self).closed = False
    def submit(self, task): self.tasks.append(task)
    def next(self):
        if Planned.stop is not None and len(Planned.log)>=Planned.stop: raise KeyboardInterrupt
        Planned.flight = max(Planned.flight, len(self.tasks))
        t = self.tasks.pop(); name = t.arm.variant.name; Planned.log.append((name, t.seed))
        what = self.gone.get((name, t.seed), self.gone.get(name))
        if what=='failed': return Ended(t, 'failed', 'RuntimeError: never')
        acc = None if what=='diverged' else round((.8+.01*np.sin(t.seed)+self.gain[name][t.seed])*N)/N
        bits = np.random.default_rng(t.seed).permutation(N)<(acc or 0)*N
        write_run(a_run(t.seed, t.arm.variant, t.arm.recipe.name, ENV, acc=acc, status=what or 'ok', n_images=N, correct=pack_bits(bits) if acc else ''), t.root)
        return Ended(t)
    def close(self): type(self).closed = True

@pytest.fixture
def planned(monkeypatch):
    monkeypatch.setitem(engines.engines, 'planned', Planned)
    for k,v in dict(log=[], stop=None, gain=GAIN, gone={}, flight=0).items(): monkeypatch.setattr(Planned, k, v)
    return Planned

def race(root, *variants, cap=20, workers=1, name='r', **kw):
    s = Study(name, ['baseline', *variants], cap, recipe=TINY, root=root, env=ENV, **kw)
    return s.race(engine='planned', workers=workers, progress=False)
def ends(s): return {o['arm']:(o['verdict'], o['n']) for o in s.read().race_states}
def paired(root, name): return sorted(int(p.stem) for p in (root/'tiny'/name/ENV).glob('[0-9]*.json') if 'failed' not in p.name)

# ---- decided in the order of seeds

def test_a_race_stops_an_arm_at_its_decision_and_goes_on_with_the_others(planned, tmp_path):
    s = race(tmp_path, 'simple', 'self', 'symmetric')
    d = {k:np.round((.8+.01*np.sin(range(20))+g[:20])*N)/N for k,g in planned.gain.items()}
    for k in ('simple','self','symmetric'):
        path = race_path(d[k]-d['baseline'], k=3)
        at = next((i for i,o in enumerate(path) if o.verdict!='undecided'), 19)
        assert ends(s)[k]==(path[at].verdict, at+1) and paired(tmp_path, k)==[*range(at+1)], k
    assert ends(s)['simple'][0]=='better' and ends(s)['self'][0]=='equivalent' and ends(s)['symmetric']==('undecided',20)
    assert paired(tmp_path, 'baseline')==[*range(20)] and s.missing()==[]

@pytest.mark.parametrize('workers', [2,5,16])
def test_more_workers_give_the_same_race(planned, tmp_path, workers):
    one,many = race(tmp_path/'one', 'simple', 'self'), race(tmp_path/'many', 'simple', 'self', workers=workers)
    assert many.read().race_states==one.read().race_states and planned.flight<=max(3, workers)+2
    assert many.compare().to_dict()==one.compare().to_dict(), 'runs beyond a decision do not count'

def test_seeds_count_in_the_declared_order(planned, tmp_path):
    order = [7,3,11,0,5,2,9,1,4,6]
    s = race(tmp_path, 'simple', cap=order)
    assert [o['seed'] for o in s.read().race_states]==order[:len(s.read().race_states)] and {t for _,t in planned.log}=={*order[:len(s.read().race_states)]}
    assert Study('r', ['baseline','simple'], order, recipe=TINY, root=tmp_path, env=ENV).read().race_states==load_study('r', tmp_path).read().race_states

def test_a_stopped_race_goes_on_to_the_same_end(planned, tmp_path):
    whole = race(tmp_path/'whole', 'simple', 'self').read().race_states
    planned.log.clear()
    for k in range(1, 100):
        planned.stop = k*3
        try: s = race(tmp_path/'cut', 'simple', 'self', workers=4); break
        except KeyboardInterrupt: assert planned.closed
    assert k>3 and s.read().race_states==whole and len(planned.log)==len({*planned.log}), 'no run twice'
    planned.stop = len(planned.log)
    assert race(tmp_path/'cut', 'simple', 'self').read().race_states==whole, 'a finished race trains nothing'

def test_the_state_after_every_seed_is_kept_and_drawn(planned, tmp_path, capsys):
    s = race(tmp_path, 'simple', 'self')
    rows = [json.loads(l) for l in (tmp_path/'_studies'/'r.race.jsonl').read_text().splitlines()]
    assert rows==s.read().race_states and [(o['arm'],o['seed']) for o in rows if o['arm']=='simple']==[('simple',k) for k in range(len([o for o in rows if o['arm']=='simple']))]
    html = write_report(load_study('r', tmp_path)).read_text()
    assert 'Difference after each seed' in html and 'simple: better after' in html
    s = Study('r', ['baseline','simple','self'], 20, recipe=TINY, root=tmp_path, env=ENV)
    capsys.readouterr(); s.race(engine='planned')
    assert 'simple after 6 pairs: +3' in capsys.readouterr().err

def test_a_declared_race_is_never_run_or_read_in_another_order(planned, tmp_path):
    race(tmp_path, 'simple', 'self', cap=[3,1,2,0])
    for order in ([0,1,2,3], [3,2], [3,1,0,2,4]):
        s = Study('r', ['baseline','simple','self'], order, recipe=TINY, root=tmp_path, env=ENV)
        for f in (s.compare, s.read, s.missing, lambda: s.race(engine='planned')):
            with pytest.raises(CliError, match='declared with the seeds 3,1,2,0 in this order'): f()

def test_a_race_read_with_fewer_arms_or_a_lower_cap_keeps_its_rule(planned, tmp_path):
    whole = race(tmp_path, 'simple', 'symmetric')
    part = Study('r', ['baseline','simple'], 10, recipe=TINY, root=tmp_path, env=ENV)
    assert part.read().race_states==[o for o in whole.read().race_states if o['arm']=='simple']
    c, = part.compare(); assert c.to_dict()==whole.compare()['simple'].to_dict() and c.family==2

# ---- what a race reports

def test_a_race_is_compared_by_its_own_rule(planned, tmp_path):
    s = race(tmp_path, 'simple', 'self')
    for o in (s, load_study('r', tmp_path), Study('r', ['baseline','simple','self'], 20, recipe=TINY, root=tmp_path, env=ENV)):
        cs = o.compare()
        for k in ('simple','self'):
            c,st = cs[k],[r for r in s.read().race_states if r['arm']==k][-1]
            assert (c.verdict, c.n)==(st['verdict'], st['n']) and c.interval==pytest.approx((st['low'], st['high'])) and c.sequential
            assert c.t is None and c.p_signflip is None and 'always-valid' in c.sentence() and 'tiny' in c.sentence()
        assert cs['simple'].new_verdict in ('better','undecided') and cs['simple'].new_low<cs['simple'].low

def test_a_race_that_goes_on_says_so(planned, tmp_path):
    planned.stop = 6
    with pytest.raises(KeyboardInterrupt): race(tmp_path, 'simple')
    d = make_report(load_study('r', tmp_path)).to_dict()
    assert any('The race goes on' in w for w in d['warnings']) and not any('Incomplete' in w for w in d['warnings']) and len(d['missing'])==40-6

def test_a_race_with_too_few_runs_names_the_command_that_trains_more(planned, tmp_path):
    planned.stop = 2
    with pytest.raises(KeyboardInterrupt): race(tmp_path, 'simple')
    with pytest.raises(CliError, match='fewer than two runs.*`simpleattn race` trains what is missing'): load_study('r', tmp_path).compare()

def test_a_race_may_have_a_higher_cap_later_but_no_other_rule(planned, tmp_path):
    race(tmp_path, 'symmetric', cap=8)
    s = race(tmp_path, 'symmetric', cap=12)
    assert ends(s)['symmetric'][1]==12 and load_study('r', tmp_path).declare()['growth'][0]['seeds']==[8,9,10,11]
    for wrong in (dict(delta=.02), dict(alpha=.01)):
        with pytest.raises(CliError, match='was declared with'): race(tmp_path, 'symmetric', **wrong)
    with pytest.raises(CliError, match='raced'): race(tmp_path, 'symmetric', 'simple', cap=12)
    fixed = Study('fixed', ['baseline','simple'], 5, recipe=TINY, root=tmp_path, env=ENV); fixed.declare()
    with pytest.raises(CliError, match='declared with raced'): fixed.race(engine='planned')

def test_a_race_declares_its_arms_and_nothing_that_is_gone(planned, tmp_path):
    s = race(tmp_path, 'simple', 'self', cap=3)
    assert json.loads(s.file.read_text())['raced']==dict(arms=2)
    for older in (dict(arms=2, looks=None, cap=None), dict(arms=2, looks=5, cap=12)):
        d = json.loads(s.file.read_text()); d['raced'] = older; s.file.write_text(json.dumps(d))
        assert race(tmp_path, 'simple', 'self', cap=3).raced==older, 'an older one goes on as it was declared'

# ---- capped: races of old, declared with so many looks up to a cap

def test_a_capped_race_is_read_and_gone_on_with_by_the_always_valid_rule(planned, tmp_path):
    s = race(tmp_path, 'simple', 'symmetric', cap=12)
    states,compared = s.read().race_states,s.compare().to_dict()
    d = json.loads(s.file.read_text()); d['raced'] = dict(arms=2, looks=5, cap=12); s.file.write_text(json.dumps(d))
    old = load_study('r', tmp_path)
    assert old.raced==d['raced'] and old.read().race_states==states and old.compare().to_dict()==compared
    on = race(tmp_path, 'simple', 'symmetric', cap=15)
    assert ends(on)['symmetric']==('undecided',15) and json.loads(on.file.read_text())['raced']==d['raced']

# ---- diverged and failed

def test_an_arm_that_always_diverges_is_out_and_worse(planned, tmp_path):
    planned.gone = {'self':'diverged'}
    s = race(tmp_path, 'simple', 'self')
    p = divergence_race_p([False]*9, [True]*9)
    assert p[8]<.025<=p[7], 'where no run trained, all seeds are the only question'
    assert ends(s)['self'][0]=='worse' and paired(tmp_path, 'self')==[*range(9)]
    c = s.compare()['self']
    assert c.verdict=='worse' and c.diff is None and c.verdict_words.startswith('worse over all seeds (9 of 9 diverged')

def test_a_diverged_run_counts_and_is_not_hidden(planned, tmp_path):
    "The completers end the race, and the answer says that it is theirs"
    planned.gone = {('simple',2):'diverged'}
    s = race(tmp_path, 'simple'); c = s.compare()['simple']
    assert ends(s)['simple']==('better',5)==(c.verdict, c.n) and paired(tmp_path, 'simple')==[*range(6)] and c.p_divergence==1
    assert c.verdict_words=='better when it trains, by more than 1 pp (1 of 6 diverged, baseline 0 of 6)'
    state = s.read().race_states[-1]; assert (state['n'], state['decided_at'])==(5,6), 'five pairs trained, six seeds were seen'

def test_a_race_that_met_a_diverged_run_can_end_equivalent(planned, tmp_path):
    planned.gain = {'baseline':0*NOISE, 'symmetric':.004*np.random.default_rng(0).normal(size=40)}
    planned.gone = {('symmetric',3):'diverged'}
    s = race(tmp_path, 'symmetric', cap=40); c = s.compare()['symmetric']
    assert ends(s)['symmetric'][0]==c.verdict=='equivalent' and 'equivalent when it trains: nothing beyond' in c.verdict_words and '(1 of ' in c.verdict_words
    assert any('biased towards 0' in o for o in c.notes)

@pytest.mark.parametrize('seed', range(4))
def test_a_race_ends_where_the_comparison_decides_and_nowhere_else(planned, tmp_path, seed):
    "Runs that diverge here and there, in both arms: the race and the comparison of its records say the same after every pair"
    rng = np.random.default_rng(seed)
    gains = {'baseline':0*NOISE, 'simple':.012+.01*rng.normal(size=40), 'self':-.02+.01*rng.normal(size=40)}
    planned.gain,planned.gone = gains,{(a,int(s)):'diverged' for a in gains for s in rng.choice(20, 2, replace=False)}
    for stop in range(6, 60, 6):
        planned.stop = stop
        try: s = race(tmp_path, 'simple', 'self'); done = True
        except KeyboardInterrupt: s,done = load_study('r', tmp_path),False
        if not ends(s) or min(len([o for o in s.read().race_states if o['arm']==k]) for k in gains if k!='baseline')<2: continue
        cs = s.compare()
        assert {k:v for k,(v,_) in ends(s).items()}=={c.arm:c.verdict for c in cs}, (stop, cs)
        if done: break

def test_an_arm_that_always_fails_stops_itself_only(planned, tmp_path, capsys):
    planned.gone = {'self':'failed'}
    s = race(tmp_path, 'self', 'simple')
    assert ends(s)=={'simple':('better',len(paired(tmp_path, 'simple')))} and [n for n,_ in planned.log].count('self')==3
    assert 'self is stuck' in capsys.readouterr().err
    c = s.compare()['self']
    assert c.verdict=='not comparable' and c.failed_variant==3 and '3 failed tries' in c.verdict_words and s.compare()['simple'].verdict=='better'

def test_a_seed_that_fails_holds_its_arm_where_it_is(planned, tmp_path):
    planned.gone = {('self',4):'failed'}
    s = race(tmp_path, 'self', 'simple', workers=4)
    assert ends(s)['self']==('undecided',4) and ends(s)['simple'][0]=='better'
    planned.gone = {}
    assert ends(race(tmp_path, 'self', 'simple'))['self'][0]=='equivalent'

def test_pairs_after_a_missing_seed_do_not_count_in_the_comparison_either(planned, tmp_path):
    planned.gone = {('self',0):'failed'}
    s = race(tmp_path, 'self', 'simple', cap=12)
    for k in range(1, 9): write_run(a_run(k, 'self', 'tiny', ENV, acc=.9-.001*k, n_images=N, correct=''), tmp_path) # another study made them
    assert 'self' not in ends(s) and s.compare()['self'].verdict=='not comparable' and s.compare()['simple'].verdict=='better'

# ---- the numbers

def test_divergence_p_is_the_mixture():
    from scipy import integrate,stats
    rng = np.random.default_rng(0)
    b,v = rng.random((2,15))<[[.2],[.6]]
    n,k = (b!=v).sum(),(v&~b).sum()
    e = integrate.quad(lambda q: stats.binom.pmf(k, n, q), 0, 1)[0]/stats.binom.pmf(k, n, .5)
    es = [integrate.quad(lambda q: stats.binom.pmf((v&~b)[:i].sum(), (b!=v)[:i].sum(), q), 0, 1)[0]/stats.binom.pmf((v&~b)[:i].sum(), (b!=v)[:i].sum(), .5) for i in range(1,16)]
    assert es[-1]==pytest.approx(e) and divergence_race_p(b, v)==pytest.approx([min(1, 1/max(es[:i])) for i in range(1,16)])
    assert np.mean([(divergence_race_p(*(rng.random((2,60))<.3))<.05).any() for _ in range(2000)])<=.05

def test_race_seeds_is_race_state_where_nothing_diverges():
    rng = np.random.default_rng(1)
    for _ in range(5):
        b = .8+.01*rng.normal(size=30); v = b+.006+.01*rng.normal(size=30)
        states = race_seeds(b, v, k=2)
        want = race_state(v-b, k=2)
        assert states[-1].verdict==want.verdict and len(states)==(want.decided_at or 30)

def test_several_arms_share_alpha_where_runs_diverge_too():
    "The variant diverges at every second seed: its seeds decide sooner at alpha than at a fourth of it"
    b = .8+.01*np.random.default_rng(2).normal(size=40); v = b-.001
    v[::2] = np.nan
    shared,alone = race_seeds(b, v, k=4), race_seeds(b, v)
    assert [o.to_dict() for o in shared]==[o.to_dict() for o in race_seeds(b, v, alpha=.0125)]
    assert shared[-1].verdict==alone[-1].verdict=='worse' and len(shared)>len(alone)

# ---- planning from records

def test_a_plan_from_the_runs_of_a_recipe(tmp_path):
    from simpleattn.plan import plan
    rng = np.random.default_rng(3); luck = .01*rng.normal(size=12)
    acc = {a:np.round((.8+luck+.005*rng.normal(size=12))*10000)/10000 for a in ('baseline','simple')}
    for a in acc:
        for s in range(12): write_run(a_run(s, a, env=ENV, acc=float(acc[a][s]), wall_seconds=90.+s), tmp_path)
    write_run(a_run(99, env=ENV, acc=None, status='diverged'), tmp_path); write_run(a_run(5, env='gpu', acc=.1), tmp_path)
    p = plan_study(TINY, 5, root=tmp_path, env=ENV)
    sd = (acc['simple']-acc['baseline']).std(ddof=1)
    assert p.to_dict()==pytest.approx(plan(5, sd, 12, None, minutes=95.5/60).to_dict()) and p.sd_diff==pytest.approx(sd) and p.hours==pytest.approx(5*2*95.5/3600)
    from scipy.stats import chi2
    assert p.sd_diff_upper==pytest.approx(sd*np.sqrt(11/chi2.ppf(.2, 11))), 'on the 11 degrees of freedom of twelve pairs'
    pooled = np.sqrt((acc['baseline'].var(ddof=1)+acc['simple'].var(ddof=1))/2)
    assert plan_study(TINY, 5, root=tmp_path, env=ENV, corr=.3).to_dict()==pytest.approx(plan(5, pooled, 23, .3, minutes=95.5/60).to_dict())
    assert plan_study(TINY, 5, sd=.01, sd_runs=9, root=tmp_path, env=ENV).to_dict()==pytest.approx(plan(5, .01, 9, 0., minutes=95.5/60).to_dict()), 'a stated sd has no correlation of other runs'
    assert plan_study(TINY, 5, sd=.01, root=tmp_path, env=ENV, corr=0).sd_diff==pytest.approx(.01*2**.5)
    with pytest.raises(CliError, match='--sd'): plan_study(Recipe('tiny', lr=.5), root=tmp_path, env=ENV)
    with pytest.raises(CliError, match='--sd'): plan_study(Recipe('none'), root=tmp_path, env=ENV)

def covered(monkeypatch, n, rho, arms=2, reps=1500, sd=.0075):
    "Share of sets of records whose plan has an upper bound above the true sd of the paired difference"
    import pandas as pd
    from simpleattn import study
    rng = np.random.default_rng([n, int(10*rho), arms])
    def upper():
        x = .85 + sd*(np.sqrt(rho)*rng.normal(size=(n,1)) + np.sqrt(1-rho)*rng.normal(size=(n,arms)))
        df = pd.DataFrame(dict(seed=np.repeat(np.arange(n), arms), variant=np.tile(['baseline','b','c'][:arms], n), variant_hash='', acc=x.ravel(), wall_seconds=60.))
        monkeypatch.setattr(study, 'load_runs', lambda *a, **k: df)
        return plan_study(TINY, 5, root='nowhere', env=ENV).sd_diff_upper
    return np.mean([upper()>=sd*np.sqrt(2*(1-rho)) for _ in range(reps)])

def test_the_upper_bound_of_a_plan_covers_as_often_as_it_says(monkeypatch): assert covered(monkeypatch, 12, .5)==pytest.approx(.8, abs=.03)

@pytest.mark.slow
@pytest.mark.parametrize('n,rho', [(10,0), (10,.9), (12,.3), (20,.6), (20,.9)])
def test_the_upper_bound_covers_at_every_correlation(monkeypatch, n, rho): assert covered(monkeypatch, n, rho, reps=2500)==pytest.approx(.8, abs=.03)

@pytest.mark.slow
@pytest.mark.parametrize('n,rho,arms', [(15,.5,3), (9,0,2), (9,.5,2), (6,.9,3)])
def test_the_upper_bound_is_cautious_with_more_arms_or_fewer_seeds(monkeypatch, n, rho, arms): assert covered(monkeypatch, n, rho, arms)>=.77
