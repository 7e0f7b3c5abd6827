"Controls of a recipe: the three answers by hand-made runs, the store, the words, the report"
import dataclasses,json,math
import numpy as np,pytest
from fastcore.script import CliError
from scipy import stats
from conftest import ROOT
from test_runs import a_run
from simpleattn.control import handicapped,harness_words,make_control,read_control,repeats_of,shift_to_find
from simpleattn.recipes import Recipe,derive
from simpleattn.report import make_report,to_html,to_markdown,write_report
from simpleattn.runs import this_env,write_run
from simpleattn.study import Study,load_study

ENV = this_env('cpu')
LITTLE = Recipe('little', epochs=4)
FULL = [.80,.70,.75,.85,.90,.78]
LESS = [.60,.52,.53,.66,.69,.59]

def a_control(root, **kw): return make_control(LITTLE, **{**dict(runs=6, root=root, env=ENV), **kw})

def put(root, recipe, accs, env=ENV, finished=lambda s: f'2026-01-01T00:00:{s:02}Z', **machine):
    for s,acc in accs.items() if isinstance(accs, dict) else enumerate(accs):
        ok = acc is not None
        run = a_run(s, recipe=recipe, env=env, acc=acc, status='ok' if ok else 'diverged', n_images=100, machine=dict(finished=finished(s), **machine),
            correct='', history=[dict(train_loss=1., valid_loss=1., acc=acc)])
        write_run(run, root)

@pytest.fixture
def store(tmp_path):
    study = a_control(tmp_path)
    study.declare()
    put(tmp_path, LITTLE, FULL); put(tmp_path, derive(LITTLE, epochs=2), LESS)
    return study

def test_the_study_is_declared_with_its_rules(tmp_path):
    study = a_control(tmp_path)
    declared = study.declare()
    assert (study.name, [a.recipe.epochs for a in study.arms.values()], study.baseline)==('control-little', [4,2], 'little/baseline')
    assert declared['protocol']['control']['handicap']=='epochs' and load_study('control-little', tmp_path).protocol==study.protocol

@pytest.mark.parametrize('epochs,noise,asked,is_now', [(4,0,None,dict(epochs=2)), (5,0,None,dict(epochs=3)), (1,0,None,dict(noise=50)), (4,0,'noise',dict(noise=50))])
def test_a_handicap_is_half_of_the_epochs_or_wrong_labels(epochs, noise, asked, is_now):
    recipe = Recipe('r', epochs=epochs, noise=noise)
    _,worse = handicapped(recipe, asked)
    assert worse==derive(recipe, **is_now) and worse.hash!=recipe.hash

@pytest.mark.parametrize('recipe,handicap,says', [(dict(epochs=1),'epochs','choose the other'), (dict(noise=50),'noise','choose the other'), ({},'lr','choose epochs')])
def test_a_handicap_that_cannot_be_is_refused(recipe, handicap, says):
    with pytest.raises(CliError, match=says): handicapped(Recipe('r', **recipe), handicap)

def test_fewer_than_four_seeds_have_no_halves(tmp_path):
    with pytest.raises(CliError, match='four seeds'): a_control(tmp_path, runs=3)

# ---- null

def test_the_null_is_welchs_test_of_the_later_half_against_the_first(store):
    control = read_control(store)
    c, = control.null
    first,later = FULL[:3],FULL[3:]
    want = stats.ttest_ind(later, first, equal_var=False)
    assert (c.diff, c.p)==pytest.approx((np.mean(later)-np.mean(first), want.pvalue))
    assert c.interval==pytest.approx(want.confidence_interval(.95))
    se = math.sqrt((np.var(first, ddof=1)+np.var(later, ddof=1))/3)
    found, = control.shifts
    assert stats.nct.sf(stats.t.ppf(.975, 2), 2, found/se)==pytest.approx(.8, abs=1e-6), 'by the fewest degrees of freedom of Welch'

def test_a_shift_between_unlike_numbers_of_runs_is_found_as_often_as_said():
    rng, n = np.random.default_rng(0), (12, 3)
    assert shift_to_find(*n, .01)==pytest.approx(shift_to_find(*n[::-1], .01)) and shift_to_find(2, 2, .2) is None
    one,other = (rng.normal(.6, .01, (4000,k)) for k in n)
    found = stats.ttest_ind(one, other+shift_to_find(*n, .01), axis=1, equal_var=False).pvalue<.05
    assert .8<found.mean()<.95

def test_halves_are_by_the_time_and_an_odd_run_counts_as_early(tmp_path):
    put(tmp_path, LITTLE, FULL[:5], finished=lambda s: f'2026-01-01T00:00:{50-s:02}Z'); put(tmp_path, derive(LITTLE, epochs=2), LESS[:5])
    c, = read_control(a_control(tmp_path, runs=5)).null
    assert (c.contrast.before.seeds, c.contrast.after.seeds)==([4,3,2],[1,0])

def test_two_machines_are_a_null_of_their_own_and_share_alpha(tmp_path):
    for device,accs in (('one',FULL[:4]),('two',[None,None,None,None,.5,.52])):
        for s,acc in enumerate(accs):
            if acc is not None: write_run(a_run(s, recipe=LITTLE, acc=acc, n_images=100, correct='', machine=dict(finished=f'2026-01-01T00:00:0{s}Z', device=device)), tmp_path)
    put(tmp_path, derive(LITTLE, epochs=2), LESS)
    time,machine = read_control(a_control(tmp_path)).null
    assert (machine.n_baseline, machine.n_variant, machine.level)==(4,2,.025)
    want = stats.ttest_ind([.5,.52], FULL[:4], equal_var=False)
    assert machine.interval==pytest.approx(want.confidence_interval(.975)) and machine.p==pytest.approx(want.pvalue)

def test_runs_of_another_class_of_machine_are_the_other_machine(store, tmp_path):
    put(tmp_path, LITTLE, [.4,.41,.42], env='gpu-torch9.9')
    time,machine = read_control(store).null
    assert (time.n_baseline, machine.n_variant, machine.verdict)==(3,3,'worse') and 'A shift was found' in read_control(store).sentences[1]

def test_runs_of_other_images_are_no_other_machine(store):
    for s,acc in enumerate([.4,.41,.42]):
        data = dict(dataset='tiny', source='160-derived', fingerprint='1'*12, n_train=20, n_val=100)
        write_run(a_run(s, recipe=LITTLE, env='gpu-torch9.9', acc=acc, n_images=100, correct='', data=data), store.root)
    assert len(read_control(store).null)==1
    other = Study('other', ['baseline','simple'], 6, recipe=LITTLE, root=store.root, env=ENV)
    assert len(harness_words(other))==2

def test_two_processors_of_one_kind_of_machine_are_two(tmp_path):
    for s,acc in enumerate(FULL): put(tmp_path, LITTLE, {s:acc}, cpu='Xeon A' if s<3 else 'EPYC B')
    put(tmp_path, derive(LITTLE, epochs=2), LESS)
    time,machine = read_control(a_control(tmp_path)).null
    assert (machine.n_baseline, machine.n_variant)==(3,3) and 'EPYC B' in machine.arm+machine.baseline and 'Xeon A' in machine.arm+machine.baseline

def test_records_from_before_the_processor_was_kept_are_of_no_other_machine(tmp_path):
    for s,acc in enumerate(FULL): put(tmp_path, LITTLE, {s:acc}, **(dict(cpu='Xeon A') if s<3 else {}))
    put(tmp_path, derive(LITTLE, epochs=2), LESS)
    assert len(read_control(a_control(tmp_path)).null)==1
    put(repeats_of(a_control(tmp_path)).root, LITTLE, FULL[:1])
    assert read_control(a_control(tmp_path)).repeats[0].otherwise==[]

def test_a_null_says_what_it_could_have_found(store):
    said = read_control(store).sentences[0]
    assert 'No shift was found' in said and 'in 80 % of such controls' in said and '3 and 3 runs' in said

@pytest.mark.parametrize('early,finished', [(0,'2099'), (4,'2026'), (2,None)])
def test_runs_that_were_there_before_the_null_was_declared_are_said(early, finished, tmp_path):
    "Wherever the harness is quoted"
    def when(s): return f"{finished or ('2026' if s<2 else '2099')}-01-01T00:00:{s:02}Z"
    study = a_control(tmp_path, runs=4)
    study.declare()
    put(tmp_path, LITTLE, FULL[:4], finished=when); put(tmp_path, derive(LITTLE, epochs=2), LESS[:4], finished=when)
    control, other = read_control(study), Study('other', ['baseline','simple'], 4, recipe=LITTLE, root=tmp_path, env=ENV)
    other.declare()
    said = f'{early} of 4 baseline runs were there when this was declared.'
    assert control.early==[early] and control.to_dict()['early']==[early]
    for words in (control.sentences, harness_words(other)): assert (said in words[0])==(early>0) and ('were there' in words[0])==(early>0)

def test_runs_that_diverged_are_among_those_that_were_there(tmp_path):
    put(tmp_path, LITTLE, [*FULL, None, .77]); put(tmp_path, derive(LITTLE, epochs=2), [*LESS, .5, .5])
    study = a_control(tmp_path, runs=8)
    study.declare()
    assert '8 of 8 baseline runs were there' in read_control(study).sentences[0]

def test_the_control_of_the_demo_is_declared_before_its_first_run(tmp_path, monkeypatch):
    from simpleattn.cli import demo
    class Begun(Exception): pass
    def run(self, **kwargs): raise Begun
    monkeypatch.setattr(Study, 'run', run)
    with pytest.raises(Begun): demo(str(tmp_path), runs=4)
    assert load_study('control-first', tmp_path).on_file()['pairs_before']==0

def test_each_null_counts_its_own_early_runs(tmp_path):
    for device,accs,year in (('one',FULL[:4],2026),('two',[None,None,None,None,.5,.52],2099)):
        put(tmp_path, LITTLE, {s:o for s,o in enumerate(accs) if o is not None}, device=device, finished=lambda s: f'{year}-01-01T00:00:0{s}Z')
    put(tmp_path, derive(LITTLE, epochs=2), LESS)
    (study := a_control(tmp_path)).declare()
    assert read_control(study).early==[4,4]

# ---- repeat

def test_a_repeat_is_the_same_or_so_far_apart(store):
    again = repeats_of(store)
    assert (again.seeds, again.root, [*again.arms.values()])==([0,1], store.root/'_repeats', [*store.arms.values()])
    put(again.root, LITTLE, [FULL[0],.72])
    one,two = read_control(store).repeats
    assert (one.same, one.diff, two.same, two.diff)==(True, 0, False, pytest.approx(.02))
    assert '1 of 2 runs' in read_control(store).sentences[1] and '+2.00 pp' in read_control(store).sentences[1]

@pytest.mark.parametrize('change,same', [({}, True), (dict(weights='b'), False), (dict(weights=''), True), (dict(history=[dict(train_loss=2., valid_loss=1., acc=.5)]), False),
    (dict(wall_seconds=9., machine=dict(finished='2026-02-02T00:00:00Z')), True)])
def test_bits_are_the_weights_the_images_and_the_losses(store, change, same):
    from simpleattn.control import Repeat
    one = a_run(weights='a')
    assert Repeat(one, dataclasses.replace(one, **change)).same is same

def test_images_that_differ_are_counted():
    from simpleattn.control import Repeat
    o = Repeat(a_run(acc=.5), a_run(acc=.7))
    assert (o.n_differ, o.n_images, o.same)==(2, 10, False)

def test_repeats_are_no_runs_of_the_store(store):
    put(repeats_of(store).root, LITTLE, FULL[:2])
    from simpleattn.runs import load_runs
    assert len(load_runs(store.root))==12

# ---- sensitivity

def test_the_handicap_is_found_by_pairs_and_at_the_seed_where_the_sequence_says_so(store):
    from simpleattn.plan import race_state
    control = read_control(store)
    d = np.subtract(LESS, FULL)
    assert control.sensitivity.p==pytest.approx(stats.ttest_1samp(d, 0).pvalue) and control.found
    first = next(n for n in range(1, 7) if race_state(d[:n]).high is not None and race_state(d[:n]).high<0)
    assert control.found_at==first and f'at {first} seeds' in control.sentences[-1]

def test_a_handicap_that_is_not_found_is_said(tmp_path):
    put(tmp_path, LITTLE, FULL); put(tmp_path, derive(LITTLE, epochs=2), [*FULL[1:], FULL[0]])
    control = read_control(a_control(tmp_path))
    assert (control.found, control.found_at)==(False, None) and 'The handicap was not found: undecided' in control.sentences[-1]

def test_a_control_without_its_first_seed_has_no_sequence(tmp_path):
    "But pairs, which are compared"
    some = dict(enumerate(FULL))
    some.pop(0)
    put(tmp_path, LITTLE, some); put(tmp_path, derive(LITTLE, epochs=2), LESS)
    control = read_control(a_control(tmp_path))
    assert (control.found, control.found_at, control.sequence)==(True, None, None) and 'Checked after each seed, it would need more' in control.sentences[-1]

def test_a_sequence_that_ended_otherwise_is_said(tmp_path):
    "As equivalent at the first seeds, where all of them say worse"
    study = a_control(tmp_path, runs=30, delta=.05)
    study.declare()
    for s in range(30): put(tmp_path, LITTLE, {s:.7+.01*(s%3)}); put(tmp_path, derive(LITTLE, epochs=2), {s:.7+.01*(s%3)+(.001*(s%2) if s<10 else -.08-.001*(s%2))})
    control = read_control(study)
    n = control.sequence.decided_at
    assert control.found and control.found_at is None and n<10
    assert control.sentences[-1].endswith(f'Checked after each seed, it would have ended as equivalent at {n} seeds.')

def test_a_handicap_with_which_nothing_trains_is_found(tmp_path):
    put(tmp_path, LITTLE, [.7,.71,.72,.73,.74,.75,.76,.77,.78,.79,.8,.81]); put(tmp_path, derive(LITTLE, epochs=2), [None]*12)
    assert read_control(a_control(tmp_path, runs=12)).found

def test_seeds_added_after_a_look_are_said(store):
    before = read_control(store).sentences[0]
    a_control(store.root, runs=8).declare()
    said = 'Pairs could be seen before this was declared or grew'
    assert said not in before and said in read_control(a_control(store.root, runs=8)).sentences[0]

# ---- where it is shown

def test_the_result_is_json(store): json.loads(json.dumps(read_control(store).to_dict(), allow_nan=False))

def test_reports_of_the_recipe_carry_it(store):
    study = Study('other', ['baseline','simple'], 6, recipe=LITTLE, root=store.root, env=ENV)
    study.declare()
    for s,acc in enumerate(FULL): write_run(a_run(s, 'simple', LITTLE, acc=acc-.01*(s%2), n_images=100, correct=''), store.root)
    said = harness_words(study)
    assert said==tuple(read_control(store).sentences)
    report = make_report(study, harness=said)
    for page in (to_markdown(report), to_html(report)): assert 'The harness on this recipe' in page and 'No shift was found' in page
    plain = make_report(study)
    assert 'harness' not in plain.to_dict() and 'The harness' not in to_markdown(plain) and report.to_dict()['harness']==[*said]

def test_a_control_that_is_not_complete_or_of_another_recipe_is_not_carried(store):
    other = dataclasses.replace(LITTLE, name='little', lr=.5)
    assert harness_words(Study('other', ['baseline','simple'], 6, recipe=other, root=store.root, env=ENV))==()
    assert harness_words(Study('other', ['baseline','simple'], 6, recipe=LITTLE, root=store.root, env='gpu-torch9.9'))==()
    next((store.root/'little'/'baseline'/ENV).glob('5.json')).unlink()
    assert harness_words(Study('other', ['baseline','simple'], 6, recipe=LITTLE, root=store.root, env=ENV))==()

@pytest.mark.parametrize('control', [{}, [], 'x', None, dict(handicap='size'), dict(handicap=['epochs'])], ids=str)
def test_a_control_that_cannot_be_read_is_told_and_stops_no_other_study(store, control):
    other = Study('other', ['baseline','simple'], 6, recipe=LITTLE, root=store.root, env=ENV)
    file = store.root/'_studies'/'control-little.json'
    facts = json.loads(file.read_text())
    file.write_text(json.dumps(facts | dict(protocol=dict(control=control))))
    said, = harness_words(other)
    assert said.startswith('What control-little says of the harness is not known: ') and str(file) in said
    file.write_text(json.dumps(facts | dict(protocol=None)))
    assert harness_words(other)==()

@pytest.mark.parametrize('change,why', [(dict(arms=1), 'two arms'), (dict(seeds=3), 'four seeds')], ids=str)
def test_a_control_without_its_arms_or_seeds_is_no_declaration(store, change, why):
    file = store.root/'_studies'/'control-little.json'
    facts = json.loads(file.read_text())
    file.write_text(json.dumps(facts | {k:facts[k][:n] for k,n in change.items()}))
    with pytest.raises(CliError, match=why): load_study('control-little', store.root)

@pytest.mark.parametrize('protocol', [dict(control={}), dict(match=3), dict(grid=dict(lr=['1'])), dict(values=[1])], ids=str)
def test_a_protocol_that_could_not_be_read_is_not_declared(tmp_path, protocol):
    s = Study('odd', ['baseline','simple'], 4, recipe=LITTLE, root=tmp_path, env=ENV, protocol=protocol)
    with pytest.raises(CliError, match="'odd' cannot be declared"): s.declare()
    assert not (tmp_path/'_studies').exists()

# ---- calibration

@pytest.fixture(scope='module')
def simulation():
    import importlib.util,sys
    sys.path.insert(0, str(ROOT/'benchmarks'))
    spec = importlib.util.spec_from_file_location('control_benchmark', ROOT/'benchmarks'/'control.py')
    spec.loader.exec_module(m := importlib.util.module_from_spec(spec))
    return m

@pytest.mark.parametrize('section', ['null','band','sensitivity'])
def test_the_calibration_in_short(section, simulation):
    "A twentieth of the studies: shares may stray three standard errors over their bound"
    for r in simulation.SECTIONS[section](.05):
        if r['bound'] is None: continue
        bound = float(r['bound'][2:])
        slack = 3*(bound*(1-bound)/r['studies'])**.5
        assert r['value']>=bound-slack if r['bound'][0]=='>' else r['value']<=bound+slack, r

def test_the_calibration_would_see_a_wrong_null(simulation, monkeypatch):
    monkeypatch.setattr(simulation, 't_bounds', lambda mean, se, df: (mean-1.5*se, mean+1.5*se))
    with pytest.raises(AssertionError, match='here and there'): next(iter(simulation.null(.05)))

def test_the_record_kept_every_bound_and_the_tutorial_says_what_it_says():
    d = json.loads((ROOT/'benchmarks'/'records'/'control.json').read_text())
    rows = d['rows']
    assert d['ok'] and all(r['studies']>=40_000 for r in rows if r['bound'])
    def percents(what, **which): return [100*r['value'] for r in rows if r['what']==what and which.items()<=r.items()]
    text = (ROOT/'nbs'/'tutorials'/'questions.ipynb').read_text()
    errs = percents('null, shift named')
    assert f'in {min(errs):.0f} to {max(errs):.0f} % of controls' in text
    (five,),(ten,) = (percents('shift that it could have found, named', n=n, noise='normal') for n in (10,20))
    assert f'in {five:.0f} % of controls with five and five runs and in {ten:.0f} % with ten and ten' in text
    held = percents('power curve within its band', n=20, noise='t4') + percents('power curve within its band', n=20, noise='skewed')
    assert all(50<=o<60 for o in held) and 'in five or six of ten' in text
