"""A study: declared before its first run, held to what it declared, and honest about what is there"""
import dataclasses,io,json,re,shutil,subprocess,sys,time
from pathlib import Path
import numpy as np,pytest
from fastcore.script import CliError
from conftest import ROOT,bits
from test_runs import a_run
from test_store import cli_main
from simpleattn.recipes import Recipe,derive,load_recipes
from simpleattn.runs import claim,read_declaration,this_env,write_failure,write_run
from simpleattn.study import Progress,Study,load_study,make_arms,compare_gains,plan_study
from simpleattn.variants import Variant,get_variant

TINY,OTHER = Recipe('tiny'), Recipe('other', lr=.1)
ENV = this_env('cpu')

def study(root, arms=('baseline','simple'), seeds=3, **kw): return Study(kw.pop('name','s'), list(arms), seeds, recipe=kw.pop('recipe',TINY), root=root, env=kw.pop('env',ENV), **kw)
def fill(root, arms=('baseline','simple'), seeds=(0,1,2), env=ENV, recipe='tiny', **kw):
    for v in arms:
        for s in seeds: write_run(a_run(s, v, recipe, env, acc=round(.4+.1*(v!='baseline')*(1+s%2)+.1*(s%3), 1), **kw), root)

def change_declared(root, change, name='s'):
    "As an older version, or a hand, would have written it"
    file = root/'_studies'/f'{name}.json'
    d = json.loads(file.read_text())
    change(d)
    file.write_text(json.dumps(d))

# ---- arms

def test_arms_are_variants_of_a_recipe_or_recipe_and_variant():
    assert list(make_arms(['baseline','simple@2.-1'], TINY))==['baseline','simple@2.-1']
    assert list(make_arms([(TINY,'baseline'),(OTHER,'simple')]))==['tiny/baseline','other/simple']
    arms = make_arms(['demo/baseline','woof-cpu/simple'], settings=ROOT/'settings.ini')
    assert [(a.recipe.name,a.variant.name) for a in arms.values()]==[('demo','baseline'),('woof-cpu','simple')]
    mine = Variant('mine', 'simpleattn.attention:SelfAttention')
    assert make_arms([mine,'baseline'], TINY)['mine'].key==(TINY.hash,mine.hash)

@pytest.mark.parametrize('arms,kw,says', [(['baseline','simple'], dict(recipe=None), 'no recipe'), (['baseline','baseline'], {}, 'twice'), (['baseline'], {}, 'at least one other'),
    (['baseline','simpel'], {}, 'simpel'), (['baseline','nothing/simple'], dict(settings=ROOT/'settings.ini'), 'nothing')])
def test_arms_that_cannot_be_meant_are_errors(tmp_path, arms, kw, says):
    with pytest.raises(CliError, match=says): Study('s', arms, 3, **{**dict(recipe=TINY, root=tmp_path, env=ENV), **kw})

def test_a_stop_that_python_swallows_in_a_finalizer_is_not_printed(tmp_path, monkeypatch):
    from simpleattn.study import _stopping
    class Ends:
        def __init__(self, error): self.error = error
        def __del__(self): raise self.error
    heard = []
    monkeypatch.setattr(sys, 'unraisablehook', lambda o: heard.append(o.exc_type))
    hook = sys.unraisablehook
    with _stopping(study(tmp_path)):
        for error in (KeyboardInterrupt,ValueError): Ends(error)
    assert heard==[ValueError] and sys.unraisablehook is hook

def test_an_arm_stands_once_however_it_is_spelled(tmp_path):
    "simple stands at 1.-1 anyway; two rows of one arm would share the error rate, and widen the intervals of the others"
    twice = 'appears twice: simple and simple@1.-1 are one'
    with pytest.raises(CliError, match=twice): study(tmp_path, ['baseline','simple','simple@1.-1'])
    both = make_arms(['baseline','simple','simple@1.-1'], TINY)
    with pytest.raises(CliError, match=twice): Study('s', both, 3, root=tmp_path, env=ENV)
    study(tmp_path).declare()
    with pytest.raises(CliError, match=twice): study(tmp_path, ['baseline','simple','simple@1.-1'])
    assert [*study(tmp_path, ['baseline','simple@1.-1']).arms]==['baseline','simple']

def test_a_study_that_was_declared_with_an_arm_twice_is_read(tmp_path):
    fill(tmp_path)
    study(tmp_path).declare()
    change_declared(tmp_path, lambda d: d['arms'].append(dict(d['arms'][1], arm='again')))
    assert [*load_study('s', tmp_path, ENV).arms]==['baseline','simple','again'] and len(load_study('s', tmp_path, ENV).compare())==2

@pytest.mark.parametrize('kw,says', [*((dict(seeds=o), 'at least two different seeds') for o in (1, [0,0], [])), (dict(baseline='none'), "'none' is not an arm"),
    *((o, 'it is a fraction') for o in (dict(delta=1.), dict(delta=0), dict(alpha=5))), *((dict(name=o), 'a name may hold only') for o in ('A b','../x'))], ids=str)
def test_a_study_that_cannot_be_meant_is_an_error(tmp_path, kw, says):
    with pytest.raises(CliError, match=says): study(tmp_path, **kw)
    assert list(tmp_path.iterdir())==[]

@pytest.mark.parametrize('kw', [dict(alpha=.6), dict(contrasts=[['simple','simple']]), dict(contrasts=[['baseline','simple','self']]), dict(contrasts=[['baseline','noninferior']]),
    dict(contrasts=[['baseline']]), dict(contrasts=[['baseline','simple','noninferior','simple','x']])], ids=str)
def test_what_could_never_be_compared_is_not_declared(tmp_path, kw):
    "It would be found out after the training"
    with pytest.raises((CliError,ValueError)): study(tmp_path, **kw)
    assert list(tmp_path.iterdir())==[]

def test_a_part_of_the_arms_may_be_named_where_contrasts_were_declared(tmp_path):
    study(tmp_path, ['baseline','simple','self'], contrasts=[['simple','self']]).declare()
    s = study(tmp_path, ['baseline','self'])
    assert s.contrasts==[['simple','self']] and [*s.arms]==['baseline','self']
    with pytest.raises(CliError, match='symmetric'): study(tmp_path, ['baseline','self'], contrasts=[['symmetric','self']])

def test_a_layer_whose_lines_are_not_known_may_not_have_changed(tmp_path):
    "A plain Python prompt keeps no lines, so a class that is typed again is another one by its hash"
    lines = 'from torch import nn\nclass Gate(nn.Module):\n    def __init__(self, ni): super().__init__()\n    def forward(self, x): return x'
    (tmp_path/'gate.py').write_text(lines)
    study(tmp_path/'runs', ['baseline', Variant('gate', f'{tmp_path}/gate.py:Gate')]).declare()
    typed = {'__name__':'__main__'}
    exec(lines, typed)
    with pytest.raises(CliError, match='has changed .*source of Gate is not known here.*define it in a notebook'): study(tmp_path/'runs', ['baseline', Variant('gate', typed['Gate'])]).declare()

def test_a_declaration_is_held_against_what_json_makes_of_it(tmp_path):
    "Tuples in arguments and protocols are lists in the file, and nothing has changed"
    from simpleattn.report import make_report
    arms = ['baseline', Variant('x', 'simpleattn.attention:SelfAttention', kwargs=dict(sizes=(1,2)))]
    protocol = dict(grid=dict(stem=[(32,64,64),(32,32,64)]), values=dict(tiny=dict(stem=(32,64,64))))
    for _ in range(3): d = study(tmp_path, arms, protocol=protocol).declare()
    assert [a['arm'] for a in d['arms']]==['baseline','x'] and d['growth']==[]
    fill(tmp_path, ['baseline']); study(tmp_path, [*arms,'simple'], protocol=protocol).declare()
    assert not any('grew' in o for o in make_report(load_study('s', tmp_path)).to_dict()['warnings']), 'an arm that came later voids no p-value of a fixed n'

# ---- declared

def test_the_declaration_says_what_is_fixed(tmp_path):
    d = study(tmp_path, seeds=[3,4], delta=.02, alpha=.1, baseline='simple').declare()
    assert d==json.loads((tmp_path/'_studies'/'s.json').read_text())
    assert (d['name'],d['baseline'],d['seeds'],d['delta'],d['alpha'],d['env'],d['growth'])==('s','simple',[3,4],.02,.1,ENV,[])
    assert 'last-epoch accuracy' in d['primary'] and d['declared'].endswith('Z') and 'commit' in d
    assert [(a['arm'],a['recipe'],a['recipe_hash'],a['variant']['hash']) for a in d['arms']]==[(k,'tiny',*a.key) for k,a in study(tmp_path).arms.items()]

def test_a_study_is_declared_before_its_first_run(tmp_path, recipe, tiny, layers):
    "The layer fails unless the declaration is there"
    s = Study('s', ['baseline', Variant('wants', f'{layers}:Wants', kwargs=dict(file=str(tmp_path/'_studies'/'s.json')))], 2, recipe=recipe, root=tmp_path)
    s.run('serial', data=tiny, device='cpu', progress=False)
    assert s.missing()==[] and not list(tmp_path.rglob('*failed*'))

def test_declaring_the_same_again_changes_nothing(tmp_path):
    study(tmp_path).declare()
    before = (tmp_path/'_studies'/'s.json').read_bytes()
    assert study(tmp_path).declare()==json.loads(before) and (tmp_path/'_studies'/'s.json').read_bytes()==before

def test_an_arm_that_can_never_run_is_taken_back_before_a_look(tmp_path):
    study(tmp_path, ('baseline','simple','self')).declare()
    fill(tmp_path, ['baseline'])
    s = study(tmp_path, ('baseline','self'))
    s.take_back('simple')
    assert [*load_study('s', tmp_path).arms]==['baseline','self'] and s.declare()['growth'][0]['taken_back']==['simple']
    fill(tmp_path, ['self'])
    assert len(s.compare())==1 and s.missing()==[]
    assert [a['arm'] for a in study(tmp_path, ('baseline','self','simple')).declare()['arms']]==['baseline','self','simple']

def test_an_arm_is_taken_back_for_another_one(tmp_path):
    study(tmp_path, ('baseline','simple')).declare()
    s = study(tmp_path, ('baseline','self'))
    s.take_back('simple')
    assert [a['arm'] for a in s.declare()['arms']]==['baseline','self']

@pytest.mark.parametrize('names,says', [(['nobody'], 'no declared arm'), (['baseline'], 'its baseline'), (['simple','self'], 'no arm besides')])
def test_what_cannot_be_taken_back(tmp_path, names, says):
    s = study(tmp_path, ('baseline','simple','self'))
    s.declare()
    with pytest.raises(CliError, match=says): s.take_back(*names)
    fill(tmp_path, ['simple'], [0])
    with pytest.raises(CliError, match='has runs of simple, so its family stays'): s.take_back('self')
    assert [*load_study('s', tmp_path).arms]==['baseline','simple','self']

def test_a_batch_larger_than_the_embedded_set_is_refused_before_the_declaration(tmp_path):
    s = study(tmp_path, recipe=derive(load_recipes()['demo'], bs=4096))
    with pytest.raises(CliError, match='Take a smaller batch'): s.run('serial', progress=False)
    assert not (tmp_path/'_studies').exists()

def test_growth_is_recorded_with_the_runs_that_were_seen(tmp_path):
    first = study(tmp_path).declare()
    fill(tmp_path, seeds=(0,1))
    d = study(tmp_path, ('baseline','simple','self'), 5).declare()
    g, = d['growth']
    assert g['runs_before']==4 and g['seeds']==[3,4] and g['arms']==['self'] and g['date'].endswith('Z')
    assert d['seeds']==[0,1,2,3,4] and [a['arm'] for a in d['arms']]==['baseline','simple','self'] and d['declared']==first['declared']
    assert len(study(tmp_path, ('baseline','simple','self'), [0,1,2,3,4,7,8]).declare()['growth'])==2

def test_a_declaration_says_how_many_pairs_could_be_seen_before_it(tmp_path):
    assert study(tmp_path, name='first').declare()['pairs_before']==0
    fill(tmp_path, seeds=(0,1)); fill(tmp_path, ['baseline'], [2])
    assert study(tmp_path, name='late').declare()['pairs_before']==2

def test_asking_for_less_than_was_declared_does_not_shrink_it(tmp_path):
    study(tmp_path, ('baseline','simple','self'), 5).declare()
    assert study(tmp_path, seeds=2).declare()==study(tmp_path, ('baseline','simple','self'), 5).declare()

@pytest.mark.parametrize('kw,says', [(dict(baseline='simple'),'declared with baseline'), (dict(delta=.02),'declared with delta'), (dict(alpha=.01),'declared with alpha'), (dict(recipe=derive(TINY, 'tiny', lr=.5)),"Arm 'baseline'")])
def test_what_was_declared_cannot_be_changed(tmp_path, kw, says):
    study(tmp_path).declare()
    before = (tmp_path/'_studies'/'s.json').read_bytes()
    with pytest.raises(CliError, match=says): study(tmp_path, **kw).declare()
    assert (tmp_path/'_studies'/'s.json').read_bytes()==before

@pytest.mark.parametrize('ask', [lambda s,e: s.race(engine=e), lambda s,e: s.run(e, cbs='fastai.callback.training:GradientClip'), lambda s,e: s.race(engine=e, cbs='no:Callback')],
    ids=['race','callbacks','both'])
def test_what_was_refused_leaves_the_study_as_it_was(tmp_path, ask):
    s = Study('s', ['baseline','simple'], 3, recipe='demo', root=tmp_path, env=ENV)
    before = s.declaration()
    with pytest.raises(CliError): ask(s, 'none')
    assert s.declaration()==before, 'nothing is declared'
    s.declare()
    with pytest.raises(CliError): ask(s, 'serial')
    assert s.declaration()==before and len(s.missing())==6

def test_numbers_and_names_are_taken_as_python_gives_them(tmp_path):
    for seeds in (np.arange(3), [0,np.int64(1),2], np.int64(3), range(3), (0,1,2)): assert study(tmp_path, seeds=seeds).seeds==[0,1,2]
    fill(tmp_path)
    study(tmp_path, seeds=np.arange(3)).declare()
    assert load_study(Path('s'), tmp_path).compare()

@pytest.mark.parametrize('call,says', [(lambda p: study(p, seeds=True), 'Seed True'), (lambda p: study(p, seeds=[0,1.]), 'Seed 1.0'), (lambda p: study(p, seeds=2.), 'Seed 2.0'),
    (lambda p: Study('q', 'baseline,self', 3, recipe='demo', root=p), r"give a list, such as \['baseline', 'self'\]"), (lambda p: study(p, name=None), 'Study None: a name'),
    (lambda p: compare_gains('a', 'b'), 'two studies: give `load_study'), (lambda p: load_study(None, p), "No study 'None'"),
    (lambda p: (fill(p), study(p).compare(baseline='self')), 'baseline is that of the study, baseline: leave it out')], ids=range(8))
def test_what_python_can_give_and_nobody_can_mean_is_a_sentence(tmp_path, call, says):
    with pytest.raises(CliError, match=says): call(tmp_path)

def test_a_study_that_was_read_from_its_declaration_cannot_be_trained(tmp_path):
    study(tmp_path).declare()
    with pytest.raises(CliError, match='Make it from recipes and variants'): load_study('s', tmp_path).run('serial', device='cpu', progress=False)

def test_an_arm_cannot_change_under_its_name(tmp_path):
    a,b = (Variant('mine', 'simpleattn.attention:SimpleSelfAttention', kwargs=dict(ks=k)) for k in (1,3))
    study(tmp_path, ('baseline',a)).declare()
    with pytest.raises(CliError, match="Arm 'mine'"): study(tmp_path, ('baseline',b)).declare()

def test_another_machine_cannot_go_on_in_silence(tmp_path):
    "Pairs never cross two classes of machine, and the declaration says which one"
    study(tmp_path).declare()
    with pytest.raises(CliError, match='env|machine'): study(tmp_path, env='nvidia-h100-torch2.15').declare()

def test_runs_of_another_machine_than_declared_stop_the_study(tmp_path, recipe, tiny):
    with pytest.raises(CliError, match=f'{ENV}.*nvidia'): study(tmp_path, recipe=recipe, env='nvidia-h100-torch2.15').run('serial', data=tiny, device='cpu', progress=False)

# ---- what is missing

def test_missing_lists_all_arms_of_a_seed_together(tmp_path):
    s = study(tmp_path)
    assert s.missing()==[(v,k) for k in range(3) for v in ('baseline','simple')]
    fill(tmp_path, ['baseline'], [0,2]); fill(tmp_path, ['simple'], [0])
    assert s.missing()==[('baseline',1),('simple',1),('simple',2)]

def test_other_seeds_machines_and_recipes_do_not_count(tmp_path):
    fill(tmp_path, seeds=[7]); fill(tmp_path, env='nvidia-h100-torch2.15'); fill(tmp_path, recipe='other', recipe_hash=OTHER.hash)
    assert len(study(tmp_path).missing())==6

def test_a_record_that_cannot_be_believed_is_missing(tmp_path):
    fill(tmp_path)
    p = tmp_path/'tiny'/'simple'/ENV/'1.json'
    p.write_text(p.read_text().replace('"params": 7','"params": 8'))
    assert study(tmp_path).missing()==[('simple',1)]

def test_a_record_that_cannot_be_believed_is_set_aside_by_name_and_run_again(tmp_path, recipe, tiny, capsys):
    study(tmp_path, recipe=recipe, seeds=2).run('serial', data=tiny, device='cpu', progress=False)
    before,p = bits(tmp_path),tmp_path/'tiny'/'simple'/ENV/'1.json'
    p.write_text(p.read_text().replace('"seed": 1','"seed": 2'))
    capsys.readouterr()
    s = study(tmp_path, recipe=recipe, seeds=2).run('serial', data=tiny, device='cpu', progress=False)
    assert s.missing()==[] and bits(tmp_path)==before and '"seed": 2' in p.with_name('1.corrupt-1.json').read_text()
    assert f'{p}: checksum' in capsys.readouterr().err

STRAY = ['0 (copy).json','0-LAPTOP.json','00.json','0.sync-conflict-20260101-000000-ABCDEFG.json','0.failed-1 (copy).json']
def test_a_stray_copy_of_a_record_is_named_and_costs_no_seed(tmp_path, capsys):
    fill(tmp_path)
    s = study(tmp_path)
    folder = tmp_path/'tiny'/'simple'/ENV
    s.declare()
    for name in STRAY: shutil.copy(folder/'0.json', folder/name)
    names = sorted(f'tiny/simple/{ENV}/{o}' for o in STRAY)
    assert s.missing()==[] and sorted(s.read().not_believed)==names and sum(map(len, s.read().runs.values()))==6
    for verb in (['compare','s'], ['report','s']):
        code,out,err = cli_main([*verb, '--root', tmp_path])
        assert code==0 and all(f'{o} is not believed: a stray copy, not read' in err for o in names) and 'is missing' not in err
    code,out,err = cli_main(['runs','--verify','--root',tmp_path])
    assert code==1 and '5 files need a look' in err and 'made again' not in err and '6 records' in out
    s._tidy()
    assert sorted(o.name for o in folder.iterdir())==sorted(['0.json','1.json','2.json',*STRAY]), 'nothing is made again, so nothing moves'
    (folder/'0.json').write_text('{')
    err = cli_main(['compare','s','--root',tmp_path])[2]
    assert f'tiny/simple/{ENV}/0.json is not believed, so that its seed is missing: not readable' in err
    assert 'made again by its study' in cli_main(['runs','--verify','--root',tmp_path])[2]

def test_a_diverged_run_is_not_tried_again(tmp_path):
    fill(tmp_path, seeds=[0,1])
    for v in ('baseline','simple'): write_run(a_run(2, v, env=ENV, acc=None, status='diverged'), tmp_path)
    assert study(tmp_path).missing()==[]

@pytest.mark.parametrize('what', ['recipe','variant'])
def test_runs_of_another_recipe_or_variant_under_the_same_name_are_an_error(tmp_path, what):
    run = a_run(0, 'simple', env=ENV)
    other = Recipe('tiny', lr=.1)
    variant = dataclasses.replace(get_variant('self'), name='simple').to_dict()
    changed = dict(recipe=other.to_dict(), recipe_hash=other.hash) if what=='recipe' else dict(variant=variant)
    write_run(dataclasses.replace(run, **changed), tmp_path)
    with pytest.raises(CliError, match=f'another {what}'): study(tmp_path).missing()

# ---- read again

def test_a_study_is_read_as_it_was_declared(tmp_path):
    study(tmp_path, seeds=[0,2], delta=.03, baseline='simple').declare()
    fill(tmp_path)
    s = load_study('s', tmp_path)
    assert (s.seeds,s.delta,s.baseline,s.env,list(s.arms))==([0,2],.03,'simple',ENV,['baseline','simple']) and s.missing()==[] and len(s.runs())==4

def test_a_study_read_from_its_declaration_does_not_train(tmp_path):
    study(tmp_path).declare()
    with pytest.raises(CliError, match='recipes and variants'): load_study('s', tmp_path).run('serial')

def test_a_study_that_was_not_declared_names_those_that_were(tmp_path):
    study(tmp_path, name='one').declare(); study(tmp_path, name='two').declare()
    with pytest.raises(CliError, match="'three'.*one, two"): load_study('three', tmp_path)

def test_the_comparison_is_paired_over_the_studys_seeds_only(tmp_path):
    fill(tmp_path, seeds=[0,1,2,3,4])
    cs = study(tmp_path).compare()
    df = cs.to_df()
    assert df.loc['simple','n']==3 and df.loc['simple','diff']==pytest.approx(.4/3)

@pytest.mark.parametrize('seeds', [[0,3,5,7], [1,0,2], [7,8,9], [0,1,2,3,4,5,6,8,7]], ids=str)
def test_declared_seeds_are_not_chosen_again(tmp_path, seeds):
    "Whoever looks at all seeds could pick those that please: only the first of them, in their order, or more after them"
    study(tmp_path, seeds=9).declare(); fill(tmp_path, seeds=range(9))
    before = (tmp_path/'_studies'/'s.json').read_bytes()
    for f in (lambda s: s.declare(), lambda s: s.compare(), lambda s: s.run('serial'), lambda s: compare_gains(s, s)):
        with pytest.raises(CliError, match='declared with the seeds 0,1,2,3,4,5,6,7,8 in this order, not .*Give the first of them'): f(study(tmp_path, seeds=seeds))
    assert (tmp_path/'_studies'/'s.json').read_bytes()==before
    c, = study(tmp_path, seeds=5).compare()
    assert c.n==5 and 'Only 5 of 9 declared seeds' in c.sentence() and 'declared seeds' not in study(tmp_path, seeds=9).compare()['simple'].sentence()
    with pytest.raises(CliError, match='delta'): study(tmp_path, seeds=9, delta=.03).compare()
    for kw in (dict(delta=.03), dict(alpha=.2)):
        with pytest.raises(CliError, match=f'{next(iter(kw))}.*of the study'): study(tmp_path, seeds=9).compare(**kw)

@pytest.mark.parametrize('there,said', [(range(4), 4), (range(1,9,2), 4), (range(8), 8), (range(9), 9)], ids=str)
def test_a_study_that_is_not_complete_is_not_the_declared_comparison(tmp_path, there, said):
    "Whoever looks after each seed and stops when it pleases errs in a quarter of studies, so it is said wherever the p is"
    study(tmp_path, seeds=9).declare(); fill(tmp_path, seeds=range(9), arms=['baseline']); fill(tmp_path, seeds=there, arms=['simple'])
    c = load_study('s', tmp_path).compare()['simple']
    assert (f'Only {said} of 9 declared seeds' in c.sentence())==(said<9) and [said<9]==[bool([o for o in c.notes if 'declared seeds' in o])]

def test_seeds_beyond_the_declared_ones_count_by_the_always_valid_rule(tmp_path):
    "Runs of another study may be there: to read a declared study with them is to let it grow after a look, and without any declaration nothing was fixed"
    study(tmp_path, seeds=4).declare(); fill(tmp_path, seeds=range(8))
    declared,more,other = study(tmp_path, seeds=4).compare()['simple'],study(tmp_path, seeds=8).compare()['simple'],study(tmp_path, seeds=[0,3,5,7], name='other')
    assert not declared.sequential and declared.test=='paired t' and more.sequential and other.compare()['simple'].sequential and not study(tmp_path/'none', name='none').read().grown
    assert 'Pairs that existed before this study was declared: 4' in other.compare()['simple'].sentence() and 'Pairs that existed' not in more.sentence()
    before = other.compare()['simple'].to_dict(); other.declare()
    assert other.compare()['simple'].to_dict()==before, 'declared afterwards it is no better'

def test_gains_are_of_two_studies_that_share_no_run(tmp_path):
    study(tmp_path, seeds=6, name='c').declare()
    for n,r in (('a',TINY),('b',OTHER)): study(tmp_path, seeds=6, name=n, recipe=r).declare(); fill(tmp_path, seeds=range(6-2*(n=='b')), recipe=r)
    a,b = load_study('a', tmp_path),load_study('b', tmp_path)
    c, = compare_gains(a, b)
    assert 'Only 4 of 6 declared seeds of b' in c.sentence()
    with pytest.raises(CliError, match='share runs'): compare_gains(a, a)
    with pytest.raises(CliError, match='share runs'): compare_gains(load_study('a', tmp_path, 'any'), load_study('c', tmp_path))

def test_the_gains_study_that_lacks_seeds_is_named_though_the_other_declared_fewer(tmp_path):
    for name,recipe,declared,there in (('a',TINY,9,5),('b',OTHER,4,4)):
        study(tmp_path, seeds=declared, name=name, recipe=recipe).declare()
        fill(tmp_path, seeds=range(there), recipe=recipe)
    c, = compare_gains(load_study('a', tmp_path), load_study('b', tmp_path))
    assert 'Only 5 of 9 declared seeds of a' in c.sentence()

def test_the_family_is_the_declared_one_whatever_is_shown_or_trained(tmp_path):
    import numpy as np
    rng = np.random.default_rng(0); arms = ['baseline','simple','self','symmetric']; study(tmp_path, arms, 9).declare()
    def add(*vs): [write_run(a_run(s, v, env=ENV, acc=round(.5+.02*(v!='baseline')+.02*rng.normal(), 3), n_images=1000, correct=''), tmp_path) for v in vs for s in range(9)]
    add('baseline','simple')
    early = load_study('s', tmp_path).compare(); c = early['simple']
    assert c.family==4-1==len(early) and c.level==pytest.approx(.05/3) and 'not comparable' in early['self'].verdict_words
    add('self','symmetric')
    whole,part = load_study('s', tmp_path).compare(),study(tmp_path, ['baseline','self'], 9).compare()
    assert [o.arm for o in part]==['self'] and part['self'].to_dict()==whole['self'].to_dict() and part.family==3
    assert whole['simple'].interval==pytest.approx(c.interval), 'the family is declared, so an arm that is added changes nothing'

def test_a_comparison_of_too_few_runs_says_what_to_do(tmp_path):
    fill(tmp_path, ['baseline']); fill(tmp_path, ['simple'], [0])
    with pytest.raises(CliError, match='simple.*fewer than two'): study(tmp_path).compare()

@pytest.mark.parametrize('name', ['./mine','../mine','*','a b',''])
def test_what_cannot_be_the_name_of_a_study_is_no_study(tmp_path, name):
    study(tmp_path).declare(); study(tmp_path, seeds=5).declare() # a growth, which '*' would match
    assert read_declaration(tmp_path, name) is None
    with pytest.raises(CliError, match='No study'): load_study(name, tmp_path)
    code,out,err = cli_main(['study',name,'--root',tmp_path])
    assert code==2 and ("No recipe" in err or name=='') and 'lost' not in err, err

@pytest.mark.parametrize('name', ['a@b','a+b','A','.a',''])
def test_a_study_is_named_like_a_recipe(tmp_path, name):
    with pytest.raises(CliError, match='dot, dash and underscore'): study(tmp_path, name=name)

# ---- old names

def test_an_arm_keeps_the_name_that_it_was_declared_with_and_its_runs(tmp_path):
    "simple@2.-1 was once declared as simple-at-2.-1, and its runs stand in a folder of that name"
    old = dataclasses.replace(get_variant('simple@2.-1'), name='simple-at-2.-1')
    study(tmp_path, ['baseline',old]).declare()
    before = (tmp_path/'_studies'/'s.json').read_bytes()
    fill(tmp_path, ['baseline',old])
    new = study(tmp_path, ['baseline','simple@2.-1'], baseline='baseline', contrasts=[['baseline','simple@2.-1','noninferior']], name='other')
    assert [*new.arms]==['baseline','simple@2.-1'] and new.missing()==[]
    write_failure('tiny', old.name, ENV, 1, 'error', tmp_path)
    assert new.read().failed=={'baseline':0, 'simple@2.-1':1}
    s = study(tmp_path, ['simple@2.-1','baseline'], baseline='baseline')
    assert [*s.arms]==['simple-at-2.-1','baseline'] and s.missing()==[] and s.declare()['growth']==[] and (tmp_path/'_studies'/'s.json').read_bytes()==before
    assert s.compare()['simple-at-2.-1'].n==3==load_study('s', tmp_path).compare()['simple-at-2.-1'].n

def test_a_declaration_is_read_where_the_source_of_a_layer_is_gone(tmp_path):
    gone = Variant.from_dict(dict(name='gone', layer='gone_with_the_wind.py:Layer', hash='0123456789ab'))
    study(tmp_path, ['baseline',gone]).declare(); fill(tmp_path, ['baseline',gone])
    assert load_study('s', tmp_path).compare()['gone'].n==3

# ---- drivers

def test_a_run_that_another_process_has_claimed_is_waited_for(tmp_path, recipe, tiny):
    "The claim is freed without a record, so the run is made here"
    s = study(tmp_path, ['baseline','simple'], 2, recipe=recipe)
    code = f"""
import time
from simpleattn.runs import claim
with claim({str(tmp_path)!r}, 'tiny/simple/{ENV}/1.json') as ours:
    print(ours, flush=True); time.sleep(3)"""
    p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline()=='True\n'
    with claim(tmp_path, f'tiny/simple/{ENV}/1.json') as ours: assert not ours
    with claim(tmp_path, f'tiny/simple/{ENV}/0.json') as ours: assert ours
    t0 = time.time()
    assert s.run('serial', data=tiny, device='cpu', progress=False).missing()==[] and time.time()-t0>1
    assert p.wait(30)==0

def test_a_study_grows_by_the_missing_runs_only(tmp_path, recipe, tiny):
    study(tmp_path, recipe=recipe, seeds=2).run('serial', data=tiny, device='cpu', progress=False)
    before = {p:p.read_bytes() for p in tmp_path.glob('tiny/*/*/*.json')}
    study(tmp_path, ('baseline','simple','self'), 3, recipe=recipe).run('serial', data=tiny, device='cpu', progress=False)
    assert len(bits(tmp_path))==9 and all(p.read_bytes()==b for p,b in before.items())

def test_progress_is_a_line_a_run_that_a_person_can_read(tmp_path, recipe, tiny, capsys):
    study(tmp_path, recipe=recipe, seeds=2).run('serial', data=tiny, device='cpu')
    out,err = capsys.readouterr()
    lines = err.strip().split('\n')
    assert out=='' and len(lines)==5 and [f'{k}/4 runs, 0 failed, {4-k} left' in l for k,l in enumerate(lines)]==[True]*5
    assert not re.search(r'[^\n\x20-\x7e]', err), 'a log holds no control characters'
    assert 'left' in lines[2] and 'simple seed 1' in lines[4] and '%' in lines[4]

def test_progress_rewrites_its_line_in_a_terminal():
    class Tty(io.StringIO):
        def isatty(self): return True
    f = Tty()
    p = Progress(2, f)
    p.update(); p.done = 1; p.update('baseline seed 0: ok 50.0%'); p.done,p.failed = 1,1; p.update(); p.close()
    assert f.getvalue().count('\n')==1 and '1/2 runs, 1 failed' in f.getvalue() and f.getvalue().count('\r')==3

def test_progress_in_a_notebook_is_one_cell_that_changes(monkeypatch):
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.core import display_functions
    from simpleattn import study
    monkeypatch.setattr(study, 'in_notebook', lambda: True)
    monkeypatch.setattr(InteractiveShell, 'initialized', lambda: True)
    said = []
    monkeypatch.setattr(display_functions, 'publish_display_data', lambda data, metadata=None, transient=None, **kw: said.append((data['text/plain'], (transient or {})['display_id'], kw.get('update', False))))
    p = Progress(2)
    p.done = 1; p.update('baseline seed 0: ok 50.0%'); p.close()
    assert len({i for _,i,_ in said})==1 and [u for *_,u in said]==[False,True] and '1/2 runs, 0 failed, 1 left' in said[-1][0] and 'seed 0: ok' in said[-1][0]

def test_the_study_of_the_readme_is_complete_and_as_declared():
    f = ROOT/'runs'/'_studies'/'woof-cpu.json'
    if not f.is_file(): pytest.skip('the study is not committed yet')
    s = load_study('woof-cpu', ROOT/'runs')
    assert list(s.arms)==['baseline','self','simple'] and len(s.seeds)==20 and s.baseline=='baseline'
    r = load_recipes(ROOT/'settings.ini')['woof-cpu']
    assert {a.recipe.hash for a in s.arms.values()}=={r.hash} and (r.dataset,r.split,r.source)==('imagewoof','v2','160')
    df = s.runs()
    assert s.missing()==[] and set(df.source)=={'160-derived'} and (df.train_seconds<=4*60).all() and df.n_images.eq(3929).all()

def test_a_clock_that_is_set_back_shows_no_time_below_zero(monkeypatch):
    said = io.StringIO()
    p = Progress(3, said)
    p.done = 1
    monkeypatch.setattr(time, 'time', lambda: 0.)
    p.update()
    assert '0 s, about 0 s left' in said.getvalue()

@pytest.mark.parametrize('arms,names', [(['simple'], ['2 of 3 records of simple (seed 1, 2)']), (['baseline','simple'], ['2 of 3 records of baseline (seed 1, 2)','2 of 3 records of simple (seed 1, 2)']), ([], [])], ids=str)
def test_records_that_do_not_say_which_images_were_right_are_named_where_they_are_compared(tmp_path, arms, names):
    for v in ('baseline','simple'): fill(tmp_path, [v], (0,))
    for v in ('baseline','simple'): fill(tmp_path, [v], (1,2), **(dict(correct='') if v in arms else {}))
    note = [o for o in study(tmp_path).compare()['simple'].notes if 'taken on trust' in o]
    assert len(note)==bool(arms) and all(o in note[0] for o in names)

@pytest.mark.parametrize('contrasts', [[('baseline','simple','self','symmetric')], [('baseline','simple','baseline','symmetric')]], ids=['apart','one baseline'])
def test_what_sets_runs_apart_is_said_of_gains_too(tmp_path, contrasts):
    arms = ['baseline','simple','self','symmetric']
    s = study(tmp_path, arms, 3, contrasts=contrasts)
    s.declare()
    fill(tmp_path, ['baseline','simple','self'], machine=dict(finished='2026', commit='one')); fill(tmp_path, ['symmetric'], machine=dict(finished='2026', commit='two'), correct='')
    said = s.compare().comparisons[-1].sentence()
    assert '3 of 3 records of symmetric (seed 0, 1, 2)' in said and 'The two runs of a pair differ in commit (seeds 0, 1, 2)' in said

def test_what_sets_runs_apart_is_said_of_the_gains_of_two_studies(tmp_path):
    for name,recipe in (('a',TINY),('b',OTHER)):
        study(tmp_path, seeds=4, name=name, recipe=recipe).declare()
        fill(tmp_path, ['baseline'], range(4), recipe=recipe, machine=dict(finished='2026', commit='one'))
        fill(tmp_path, ['simple'], range(4), recipe=recipe, machine=dict(finished='2026', commit='one' if name=='a' else 'two'), **(dict(correct='') if name=='b' else {}))
    c, = compare_gains(load_study('a', tmp_path), load_study('b', tmp_path))
    assert '4 of 4 records of b/simple (seed 0, 1, 2, 3)' in c.sentence() and 'The two runs of a pair differ in commit (seeds 0, 1, 2, 3)' in c.sentence()

# ---- what is said before anything is trained

def said_before(s, joining=()): return list(s._said_before(joining))
HERE = dict(finished='2026-01-01T00:00:00Z', device='cpu')

def test_runs_made_otherwise_are_told_before_they_are_paired(tmp_path):
    s = study(tmp_path)
    fill(tmp_path, ['baseline'], machine=dict(HERE, commit='another', cpu='another'))
    said, = [o for o in said_before(s) if 'of the existing runs differ' in o]
    assert said.startswith('3 of the existing runs differ in commit and cpu from this machine and program.') and 'in another root all are trained again' in said
    fill(tmp_path, ['simple'], machine=dict(HERE, commit='another', cpu='another'))
    assert said_before(s)==[], 'nothing is left to train'

def test_runs_of_this_program_and_machine_are_not_told_apart(tmp_path):
    from simpleattn.runs import machine_facts
    fill(tmp_path, ['baseline'], machine=machine_facts('cpu'))
    assert said_before(study(tmp_path))==[]

def test_growth_is_told_before_it_costs(tmp_path):
    s = study(tmp_path); s.declare()
    assert said_before(s)==[]
    fill(tmp_path)
    more = study(tmp_path, seeds=5)
    assert any('could be seen before it was declared or grew' in o and 'study of another name' in o for o in said_before(more))

def test_an_arm_that_joins_is_told(tmp_path):
    s = study(tmp_path); s.declare()
    fill(tmp_path)
    more = study(tmp_path, ['baseline','simple','self'])
    assert s._joining()==[] and more._joining()==['self']
    assert said_before(more, more._joining())[0].startswith('New in s: self. More comparisons share its error rate')

def test_a_gain_of_gains_of_one_study_is_made_of_its_seeds(tmp_path):
    arms = ['baseline','simple','self','symmetric']
    s = study(tmp_path, arms, 4, contrasts=[arms]); s.declare()
    fill(tmp_path, arms, range(4))
    assert s.compare()['(symmetric - self) - (simple - baseline)'].test=='paired t on differences'

def test_a_gain_of_gains_misses_only_the_seeds_of_its_own_arms(tmp_path):
    s = study(tmp_path, ['baseline','simple','self','symmetric'], 3, contrasts=[('baseline','simple','baseline','self')]); s.declare()
    fill(tmp_path, ['baseline','simple','self']); fill(tmp_path, ['symmetric'], seeds=[0])
    gains = [c for c in s.compare() if c.arm.startswith('(')][0]
    assert not any('declared seeds' in o for o in gains.notes)

def test_a_race_with_a_gap_at_its_second_seed_says_which_runs_wait(tmp_path):
    s = study(tmp_path, ['baseline','simple','self'], 4, raced=dict(arms=2)); s.declare()
    fill(tmp_path, ['baseline','self'], seeds=range(4)); fill(tmp_path, ['simple'], seeds=(0,2,3))
    c = s.read().compare()['simple']
    assert c.verdict=='not comparable' and any('seeds 2, 3 of simple' in o for o in c.notes), c.notes

# ---- images that have changed

def test_images_that_have_changed_are_found_out_before_anything_is_trained(recipe, tiny, tmp_path):
    pics, root = shutil.copytree(tiny, tmp_path/'tiny'), tmp_path/'runs'
    def study(seeds): return Study('pics', ['baseline','simple'], seeds=seeds, recipe=recipe, root=root)
    study(2).run(engine='serial', data=pics, device='cpu', progress=False)
    shutil.copy(first_file(pics/'train'), pics/'train'/first_file(pics/'train').parent.name/'new.png')
    declared = study(2).on_file()
    study(2).run(engine='serial', data=pics, device='cpu', progress=False) # nothing is missing, so nothing is asked of the images
    with pytest.raises(CliError, match="not those of 2 existing runs of 'baseline'.*--root"): study(3).run(engine='serial', data=pics, device='cpu', progress=False)
    assert study(2).on_file()==declared and [r.seed for r in study(2).read().runs['baseline']]==[0,1]
    study(3).run(engine='serial', data=tiny, device='cpu', progress=False)
    assert [r.seed for r in study(3).read().runs['baseline']]==[0,1,2]

def test_of_a_data_set_that_is_fetched_nothing_is_asked_before_its_runs(tmp_path, monkeypatch):
    monkeypatch.setattr('simpleattn.folders._download', lambda *args: pytest.fail('it was fetched'))
    s = Study('woof', ['baseline','simple'], seeds=3, recipe=load_recipes()['woof-cpu'], root=tmp_path, env=this_env('cpu'))
    for name in s.arms: write_run(a_run(0, name, s.arms[name].recipe, s.env), tmp_path)
    assert s.read().n_runs==2
    s._check_images(None)

def first_file(folder): return sorted(o for o in folder.rglob('*') if o.is_file())[0]

def test_a_plan_without_runs_here_names_the_machines_that_have_some(tmp_path):
    for seed in range(3): write_run(a_run(seed, 'baseline', load_recipes()['demo'], 'cpu-torch9'), tmp_path)
    with pytest.raises(CliError, match='two runs on cpu-torch1. There are runs on cpu-torch9: --env cpu-torch9 plans by them. State the sd'): plan_study('demo', root=tmp_path, env='cpu-torch1')
    write_run(a_run(0, 'simple', load_recipes()['demo'], 'cpu-torch8'), tmp_path)
    with pytest.raises(CliError, match='There are runs on cpu-torch9: '): plan_study('demo', root=tmp_path, env='cpu-torch1')
    with pytest.raises(CliError, match='two runs on cpu-torch1. State the sd'): plan_study('woof-cpu', root=tmp_path, env='cpu-torch1')
