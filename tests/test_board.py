"""The leaderboard pools nothing and sends only what its rules allow; published rows beside ours; the protocol from sweep to verdict"""
import dataclasses,json,math,re,shlex
from dataclasses import replace
import numpy as np
import pytest
from scipy import stats
from conftest import ROOT,bits,cli
from test_cli import call,somewhere
from test_runs import a_run
from simpleattn import sweep
from simpleattn.board import *
from simpleattn.cli import _recipe_of
from simpleattn.published import match_recipe,published,published_beside,published_entry,single_runs_beside
from simpleattn.recipes import CliError,derive,load_recipes,setting_text
from simpleattn.runs import this_env,write_failure,write_run
from simpleattn.stats import holm
from simpleattn.study import Study,load_study,make_arms
from simpleattn.sweep import *
from simpleattn.variants import Variant,get_variant

ALL = load_recipes(ROOT/'settings.ini')
WOOF = ALL['woof-128-5']
ENV = this_env('cpu')
GOOD = dict(data=dict(dataset='imagewoof', source='160', fingerprint='f'*12, n_train=9025, n_val=3929), n_images=3929, machine=dict(finished='', commit='abc123', versions=dict(torch='2.15.0', fastai='2.8.12')))

def put(root, accs, recipe=WOOF, variant='baseline', seeds=None, **kw):
    "Records of an arm, one for each accuracy; None is a run that diverged"
    for s,x in zip(seeds or range(99), accs):
        history = [dict(train_loss=1., valid_loss=1., acc=o) for o in (x and x+.01, x)]
        d = dict(env=ENV, recipe=recipe.to_dict(), recipe_hash=recipe.hash, status='diverged' if x is None else 'ok', best_acc=x and x+.01, history=history, correct='') | GOOD | kw
        d['data'] = d['data']|dict(n_val=d['n_images'])
        write_run(dataclasses.replace(a_run(s, variant, acc=x), **d), root)

FIVE = [.76,.77,.775,.765,.78]

# ---- entries and their ranking

def test_an_entry_has_n_mean_interval_and_counts_of_what_failed(tmp_path):
    put(tmp_path, [*FIVE, None]); write_failure(WOOF.name, 'baseline', ENV, 9, 'error', tmp_path)
    e, = (o.to_dict() for o in leaderboard(board_entries(tmp_path)))
    lo,hi = stats.t.interval(.95, 4, np.mean(FIVE), stats.sem(FIVE))
    assert (e['n'],e['diverged'],e['failed'],e['best_of'],e['confirm'])==(5,1,1,1,None)
    assert (e['mean'],e['mean']-e['half_width'],e['mean']+e['half_width'])==pytest.approx((np.mean(FIVE),lo,hi)) and e['best_epochs']==pytest.approx(np.mean(FIVE)+.01)
    assert json.loads(json.dumps(e))==e and [o['path'] for o in e['runs']][0]==f'woof-128-5/baseline/{ENV}/0.json'

@pytest.mark.parametrize('kw', [dict(recipe=derive(WOOF, 'a', split='v1')), dict(recipe=derive(WOOF, 'a', size=192)), dict(recipe=derive(WOOF, 'a', epochs=20)), dict(recipe=derive(WOOF, 'a', noise=5)),
    dict(recipe=derive(WOOF, 'a', dataset='imagenette')), dict(data=GOOD['data']|dict(source='160-derived')), dict(data=GOOD['data']|dict(fingerprint='0'*12)), dict(n_images=500), dict(env='h200-torch2.11'),
    dict(pipeline=2), dict(machine=GOOD['machine']|dict(versions=dict(torch='2.15.0', fastai='2.9.0')))], ids=str)
def test_nothing_pools_across_a_cell(tmp_path, kw):
    put(tmp_path, FIVE); put(tmp_path, [.8]*2+[.81]*3, seeds=range(50, 55), **kw)
    rows = leaderboard(board_entries(tmp_path))
    assert [(e.score.n,e.best_of) for e in rows]==[(5,1)]*2 and len({e.score.mean for e in rows})==2
    text = [{k:v for k,v in o.items() if k not in ('accuracy','best','published')} for o in board_rows(rows)]
    assert text[0]!=text[1], 'the rows say what sets them apart'

def test_what_makes_runs_comparable_is_one_list(tmp_path, monkeypatch):
    "One name more beside `Run`, and the leaderboard and a report's images keep apart what differs in it"
    from simpleattn import report,runs
    put(tmp_path, FIVE); put(tmp_path, FIVE, variant='self', params=9)
    read = runs.find_runs(tmp_path)[0]
    with_bits = [dataclasses.replace(r, correct=runs.pack_bits([i<r.acc*r.n_images for i in range(r.n_images)])) for r in read]
    by_arm = [[r for r in with_bits if r.variant['name']==o] for o in ('baseline','self')]
    assert len(leaderboard(board_entries(tmp_path)))==1 and report._right_in_pairs(*by_arm) is not None
    monkeypatch.setattr(runs, 'comparable', (*runs.comparable, 'params'))
    rows = leaderboard(board_entries(tmp_path))
    assert len(rows)==2 and {o['apart_by'] for o in board_rows(rows)}=={f'params {r.params}' for r in read}
    assert report._right_in_pairs(*by_arm) is None and {o.to_dict()['params'] for o in rows}=={r.params for r in read}

def test_arms_of_one_name_and_two_recipes_or_layers_do_not_pool(tmp_path):
    put(tmp_path, FIVE); put(tmp_path, FIVE, derive(WOOF, WOOF.name, lr=1.), seeds=range(50, 55))
    for s in range(60, 65): write_run(dataclasses.replace(a_run(s), env=ENV, recipe=WOOF.to_dict(), recipe_hash=WOOF.hash, correct="", variant=dataclasses.replace(get_variant('self'), name='baseline').to_dict(), **GOOD), tmp_path)
    es = board_entries(tmp_path)
    assert [e.score.n for e in es]==[5]*3 and len({e.arm for e in es})==3 and leaderboard(es)[0].best_of==3

def test_the_best_mean_is_picked_among_arms_with_runs_enough(tmp_path):
    put(tmp_path, FIVE); put(tmp_path, [x+.01 for x in FIVE], variant='simple'); put(tmp_path, [.9,.91], variant='self'); put(tmp_path, [.85]*3+[.86]*2+[None], variant='symmetric')
    e, = leaderboard(board_entries(tmp_path))
    assert (e.arm.name,e.best_of,e.rivals[0].arm.name)==('woof-128-5/simple',4,'woof-128-5/baseline'), 'two runs are too few, and one of six that diverged counts as zero'
    assert leaderboard(board_entries(tmp_path), min_runs=2)[0].arm.name=='woof-128-5/self'
    assert 'best of 4' in str(board_rows([e]))

def test_a_pick_is_confirmed_on_reserved_seeds_which_take_no_part_in_it(tmp_path):
    lr = derive(WOOF, lr=.001, stem=(32,32,64))
    put(tmp_path, FIVE); put(tmp_path, [x+.01 for x in FIVE], lr, 'simple')
    e, = leaderboard(board_entries(tmp_path))
    verb,base,_,*words = shlex.split(e.confirm)[1:]
    n = next(i for i,o in enumerate(words) if o.startswith('--'))
    changes,d = words[:n],dict(zip(words[n::2], words[n+1::2]))
    assert d.pop('--root')==str(tmp_path)
    recipe = _recipe_of(base, ROOT/'settings.ini', changes)
    assert verb=='study' and recipe.hash==lr.hash and d['--seeds']=='1000,1001,1002,1003,1004'
    assert [a.key for a in make_arms(d['--variants'].split(','), recipe, ROOT/'settings.ini').values()]==[(WOOF.hash,'baseline'), (lr.hash,get_variant('simple').hash)]
    put(tmp_path, [.5,.51], recipe, 'simple', seeds=[1000,1001])
    again, = leaderboard(board_entries(tmp_path))
    assert again.arm==e.arm and again.score.mean==e.score.mean and again.fresh.n==2 and again.fresh.mean==pytest.approx(.505) and '(n 2)' in board_rows([again])[0]['fresh_seeds']
    assert again.confirm==e.confirm and again.confirm_words==f'{e.picked_words} To confirm it on reserved seeds: {e.confirm}', 'two are too few'
    assert again.to_dict()['over_k']==[*e.over_k] and json.loads(json.dumps(again.to_dict()))['fresh']['n']==2
    put(tmp_path, [.52,.53,.54], recipe, 'simple', seeds=[1002,1003,1004])
    done, = leaderboard(board_entries(tmp_path))
    assert done.confirm_words==f'{e.picked_words} Its reserved seeds: {board_rows([done])[0]["fresh_seeds"]}.'

def test_the_command_names_sites_as_the_command_line_takes_them(tmp_path):
    v = get_variant('simple@1.-1+2.-1')
    for name,x in (('baseline',.01),(v,.02)): put(tmp_path, [o+x for o in FIVE], variant=name)
    e, = leaderboard(board_entries(tmp_path))
    assert [a.variant.hash for a in make_arms(re.search(r'--variants (\S+)', e.confirm)[1].split(','), settings=ROOT/'settings.ini').values()]==['baseline',v.hash]

@pytest.mark.parametrize('recipe,variant', [(WOOF, 'simple@1.-1+2.-1'), (derive(WOOF, 'long'*49), 'simple@2.-1')], ids=['sites','long'])
def test_the_study_that_confirms_has_a_name_that_a_study_may_have(tmp_path, recipe, variant):
    for v,x in (('baseline',.01), (get_variant(variant),.02)): put(tmp_path, [o+x for o in FIVE], recipe, v)
    words = shlex.split(leaderboard(board_entries(tmp_path))[0].confirm)
    name = words[words.index('--name')+1]
    assert Study(name, ['baseline','simple'], recipe=WOOF, root=tmp_path).name.endswith('-confirm')

def test_equal_runs_are_no_certainty(tmp_path):
    put(tmp_path, [.7]*3); put(tmp_path, [.69,.7,.68], variant='simple')
    pick, = leaderboard(board_entries(tmp_path))
    assert pick.over_k is None and pick.score.sd<1e-9 and 'to 70' not in pick.picked_words
    assert chance_to_beat(pick.score, .6) is None

def test_an_arm_of_which_no_run_trained_has_no_accuracy(tmp_path):
    put(tmp_path, [None,None])
    e, = leaderboard(board_entries(tmp_path))
    assert board_rows([e])[0]['accuracy']=='no finished run' and repr(e).endswith('no finished run')
    assert pr_entries([e], 'woof-128-5/baseline')[0]['row']['Accuracy']=='no finished run'

def test_arms_that_share_a_derived_recipe_are_confirmed_with_it(tmp_path):
    lr = derive(WOOF, lr=.001, flip=False)
    put(tmp_path, FIVE, lr); put(tmp_path, [x+.01 for x in FIVE], lr, 'simple')
    e, = leaderboard(board_entries(tmp_path))
    assert 'simpleattn study woof-128-5 --set flip=false lr=0.001 --variants baseline,simple --seeds' in e.confirm
    assert _recipe_of('woof-128-5', ROOT/'settings.ini', ['flip=false','lr=0.001']).hash==lr.hash

def test_an_arm_in_two_folders_is_one_entry_by_either_name(tmp_path):
    v = get_variant('simple@2.-1')
    old = dataclasses.replace(v, name='simple-at-2.-1')
    put(tmp_path, FIVE, variant=old); put(tmp_path, [.5,.6], variant=v, seeds=[4,5])
    e, = board_entries(tmp_path)
    assert [(r.seed,r.acc) for r in e.runs]==[*enumerate(FIVE), (5,.6)] and e.names=={'woof-128-5/simple-at-2.-1','woof-128-5/simple@2.-1'}
    assert [len(pr_entries([e], name)) for name in e.names]==[1,1]

def test_the_published_entry_stands_beside_its_own_data_set_only(tmp_path):
    put(tmp_path, FIVE); put(tmp_path, FIVE, ALL['woof-128-5-v1']); put(tmp_path, FIVE, derive(WOOF, noise=5))
    got = {(e.cell.split,e.cell.noise):e.to_dict()['published'] for e in leaderboard(board_entries(tmp_path))}
    assert got=={('v2',0):dict(acc=pytest.approx(.7661), n=5, statistic='mean'), ('v1',0):None, ('v2',5):None}

# ---- to the leaderboard

BREAKS = {'demo.*neither':dict(recipe=derive(WOOF, 'demo', dataset='demo')), 'split v1':dict(recipe=derive(WOOF, 'a', split='v1')), 'train labels':dict(recipe=derive(WOOF, 'a', noise=5)),
    '160 px with 5':dict(recipe=derive(WOOF, 'a', size=160)), '128 px with 50':dict(recipe=derive(WOOF, 'a', epochs=50)), 'official archive':dict(data=GOOD['data']|dict(source='160-derived')),
    'unverified':dict(data=GOOD['data']|dict(source='160-unverified')), '4 finished':dict(accs=FIVE[:4]), 'diverged':dict(accs=[*FIVE, None]), 'no commit':dict(machine=GOOD['machine']|dict(commit='abc+'))}

@pytest.mark.parametrize('why', BREAKS)
def test_a_broken_rule_is_named_and_alone(tmp_path, why, call):
    kw = dict(accs=FIVE) | BREAKS[why]
    put(tmp_path, **kw)
    e, = board_entries(tmp_path)
    assert len(broken_rules(e))==1 and re.search(why, broken_rules(e)[0])
    code,out,err = call('leaderboard', '--pr', e.arm.name, '--root', tmp_path)
    assert code==2 and out=='' and err.count('\n')==1 and re.search(why, err)

def test_what_keeps_every_rule_is_a_row_of_five_columns(tmp_path, call):
    put(tmp_path, FIVE)
    code,out,err = call('leaderboard', '--pr', 'woof-128-5/baseline', '--url', 'https://x.y/z', '--root', tmp_path)
    head,rule,row,_,said,checked = out.rstrip().split('\n')
    assert (code,err,head,rule)==(0, '', '|Size (px)|Epochs|URL|Accuracy|# Runs|', '|--|--|--|--|--|')
    assert row=='|128|5|[simpleattn woof-128-5/baseline, commit abc123](https://x.y/z)|77.00%|5, mean|'
    p = stats.t.sf((.7661-np.mean(FIVE))/(np.std(FIVE, ddof=1)*math.sqrt(1.2)), 4)
    assert f'probability {100*p:.0f} %' in said and 'do not send it' in said and .5<p<.8
    d, = json.loads(call('leaderboard', '--pr', 'woof-128-5/baseline', '--root', tmp_path, '--fmt', 'json')[1])
    assert d['beats']==pytest.approx(p) and d['broken']==[]

def test_a_row_says_what_was_checked_and_what_could_not_be(tmp_path):
    put(tmp_path, FIVE); put(tmp_path, FIVE, ALL['woof-128-5'], Variant('mine', 'mine:Layer'))
    ours,mine = (pr_text(pr_entries(board_entries(tmp_path), f'woof-128-5/{v}')[0]) for v in ('baseline','mine'))
    for o in ('128 px in training and validation','5 runs','random weights and no test-time augmentation','place of URL'): assert o in ours
    assert 'loads no weights' in mine and 'loads no weights' not in ours
    four = board_entries(tmp_path)[0]
    assert 'Not to be sent: 4 finished' in pr_text(pr_entries([dataclasses.replace(four, runs=four.runs[:4])], 'woof-128-5/baseline')[0])
    assert 'place of URL' not in pr_text(pr_entries(board_entries(tmp_path), 'woof-128-5/baseline', 'https://x.y')[0])

def test_sweeps_are_no_rows_of_the_board(tmp_path):
    put(tmp_path, FIVE); put(tmp_path, [x+.1 for x in FIVE], derive(WOOF, split='tune'), seeds=range(SWEEP, SWEEP+5))
    e, = leaderboard(board_entries(tmp_path))
    assert (e.cell.split,e.best_of)==('v2',1)

def test_callbacks_of_a_recipe_are_confirmed_with_it_in_words_that_a_shell_takes(tmp_path):
    recipe = derive(WOOF, callbacks='fastai.callback.training:GradientClip(max_norm=1.0)')
    for variant,accs in (('baseline',FIVE),('simple',[x+.01 for x in FIVE])): put(tmp_path, accs, recipe, variant)
    e, = leaderboard(board_entries(tmp_path))
    words = shlex.split(e.confirm)
    assert words[words.index('--set')+1]==f"callbacks={','.join(recipe.callbacks)}"

def test_callbacks_that_only_a_recipe_of_the_settings_has_are_taken_away(tmp_path):
    from simpleattn.board import _derived_from
    put(tmp_path, FIVE, derive(WOOF, lr=.001))
    entry, = board_entries(tmp_path)
    with_callbacks = derive(WOOF, lr=.001, callbacks='fastai.callback.training:GradientClip(max_norm=1.0)')
    name, changes = _derived_from(entry, {with_callbacks.name:with_callbacks})
    assert name==with_callbacks.name and derive(with_callbacks, **{k:setting_text(v) for k,v in changes.items()}).hash==entry.arm.recipe.hash

def test_the_confirming_command_goes_to_the_folder_of_the_runs(tmp_path):
    put(tmp_path, FIVE); put(tmp_path, [x+.1 for x in FIVE], variant='simple')
    assert f'--root {tmp_path}' in leaderboard(board_entries(tmp_path))[0].confirm

def test_a_row_that_beats_the_entry_may_be_sent_and_a_pick_is_judged_by_reserved_seeds(tmp_path):
    put(tmp_path, FIVE); put(tmp_path, [x+.03 for x in FIVE], variant='simple')
    p, = pr_entries(board_entries(tmp_path), 'woof-128-5/simple')
    assert p['beats']>.8 and 'it may be sent' in pr_text(p) and 'best of 2' in pr_text(p) and 'simpleattn study' in pr_text(p) and not p['fresh']
    put(tmp_path, [x-.01 for x in FIVE], variant='simple', seeds=range(1000, 1005))
    p, = pr_entries(board_entries(tmp_path), 'woof-128-5/simple')
    assert p['fresh'] and p['row']['Accuracy']=='76.00%' and 'reserved seeds alone' in pr_text(p) and 'do not send' in pr_text(p)
    p, = pr_entries(board_entries(tmp_path), 'woof-128-5/baseline')
    assert p['best_of']==1, 'the arm that was not picked has no luck of the pick'

def test_two_classes_of_machine_are_two_rows(tmp_path, call):
    put(tmp_path, FIVE); put(tmp_path, FIVE, env='h200-torch2.11')
    assert len(pr_entries(board_entries(tmp_path), 'woof-128-5/baseline'))==2==call('leaderboard', '--pr', 'woof-128-5/baseline', '--root', tmp_path)[1].count('# Runs')
    assert call('leaderboard', '--pr', 'woof-128-5/baseline', '--root', tmp_path, '--env', ENV)[1].count('# Runs')==1

@pytest.mark.parametrize('n', [5,20])
def test_the_chance_of_a_new_run_is_what_it_says(n):
    "Where runs are normal, the chance to be above a further run is uniform"
    rng = np.random.default_rng(n)
    x = rng.normal(.77, .008, (4000, n+1))
    p = np.array([chance_to_beat(Score(n, 0, o[:n].mean(), sd=o[:n].std(ddof=1)), o[n]) for o in x])
    assert stats.kstest(p, 'uniform').pvalue>.01
    s = Score(4, 1, .8, sd=.01)
    assert chance_to_beat(s, .8)==pytest.approx(.4) and chance_to_beat(replace(s, n=1), .8) is None

@pytest.mark.parametrize('epochs,has_entry', [(5, True), (6, False)])
def test_a_board_without_a_published_entry_says_so(tmp_path, call, epochs, has_entry):
    put(tmp_path, FIVE, derive(WOOF, epochs=epochs))
    assert ("fastai's leaderboard has no entry" in call('leaderboard', '--root', tmp_path)[1]) != has_entry

def test_the_board_in_every_format(tmp_path, call):
    put(tmp_path, FIVE); put(tmp_path, [x+.01 for x in FIVE], variant='simple')
    code,out,err = call('leaderboard', '--root', tmp_path)
    assert code==0 and err=='' and '78.00 % ± 0.98 pp (n 5)' in out and '76.61 % (n 5)' in out and 'best of 2' in out and 'simpleattn study woof-128-5 --variants' in out
    rows = json.loads(call('leaderboard', '--root', tmp_path, '--fmt', 'json')[1])
    assert rows==[e.to_dict() for e in leaderboard(board_entries(tmp_path))]
    head,line = call('leaderboard', '--root', tmp_path, '--fmt', 'csv')[1].strip().split('\n')
    assert head.startswith('dataset,split') and 'woof-128-5/simple' in line and '0.78' in line
    assert call('leaderboard', '--root', tmp_path, '--fmt', 'md')[1].startswith('| dataset |')
    assert call('leaderboard', '--root', tmp_path/'none')[1].strip()=='nothing'
    code,out,err = call('leaderboard', '--pr', 'x/y', '--root', tmp_path)
    assert code==2 and 'woof-128-5/simple' in err

def test_a_record_that_cannot_be_believed_is_named(tmp_path, call):
    put(tmp_path, FIVE)
    f = tmp_path/'woof-128-5'/'baseline'/ENV/'0.json'
    f.write_text(f.read_text().replace('0.76', '0.99'))
    code,out,err = call('leaderboard', '--root', tmp_path)
    assert '(n 4)' in out and '0.json' in err

# ---- published beside ours

def test_every_published_row_is_there_and_blank_without_runs():
    tables = published_beside([])
    assert sum(map(len, tables.values()))==len(published()) and all(t.our_last_epoch.isna().all() and t.differs.isna().all() for t in tables.values())

def test_ours_stand_beside_the_row_that_they_repeat_with_what_differs(tmp_path):
    v1 = dict(data=GOOD['data']|dict(n_val=500), n_images=500)
    put(tmp_path, FIVE, ALL['woof-128-5-v1'], 'simple', **v1); put(tmp_path, FIVE, WOOF, 'simple', data=GOOD['data']|dict(source='160-derived')); put(tmp_path, FIVE, derive(ALL['woof-128-5-v1'], wd=.1), 'simple', **v1)
    put(tmp_path, FIVE, derive(ALL['woof-128-5-v1'], callbacks='fastai.callback.training:GradientClip(1.0)'), 'simple', **v1)
    put(tmp_path, FIVE, derive(ALL['woof-128-5-v1'], opt='adam-published'), 'simple', **v1)
    t = next(t for k,t in published_beside(board_entries(tmp_path)).items() if 'results' in k)
    t = t[(t.dataset=='imagewoof') & (t.size_px=='128')]
    assert t[t.variant=='baseline'].n.isna().all() and len(t)==4
    rows = {o['arm']:o for o in t[t.variant=='simple'].to_dict('records')}
    assert {*rows}=={'woof-128-5-v1/simple','woof-128-5-v1_opt-adam-published/simple','woof-128-5/simple'}, 'another weight decay and a callback make another training; the two forms of Adam do not'
    same,other = rows['woof-128-5-v1/simple'],rows['woof-128-5/simple']
    as_published = rows['woof-128-5-v1_opt-adam-published/simple']
    assert as_published['replication'] and as_published['differs']==''
    assert same['replication'] and same['differs']=="Adam's epsilon after the correction of bias" and (same['published'],same['our_last_epoch'],same['our_best_epochs'],same['n'])==pytest.approx((.652,np.mean(FIVE),np.mean(FIVE)+.01,5))
    assert not other['replication'] and other['differs']=='split v2 against v1; 3,929 validation images against 500; files 160-derived against 160; bfloat16 against float16; Adam\'s epsilon after the correction of bias'

@pytest.mark.parametrize('opt,said', [('radam',"RAdam's epsilon after the correction of bias"), ('ranger',"RAdam's epsilon after the correction of bias"), ('ralamb',''), ('over9000',''), ('novograd','')])
def test_the_place_of_epsilon_is_named_for_every_optimiser_that_has_another(tmp_path, opt, said):
    "The published ones of 2019 add it before the correction of bias"
    put(tmp_path, FIVE, ALL[f'woof-128-5-{opt}-v1'], 'baseline', data=GOOD['data']|dict(n_val=500), n_images=500)
    rows = [o for o in single_runs_beside(board_entries(tmp_path)).to_dict('records') if o['n']==5]
    assert [(o['optimiser'],o['replication'],o['differs']) for o in rows]==[(opt,True,said)]

def test_self_attention_names_that_it_starts_as_in_fastai_2(tmp_path):
    "fastai 1, of the published runs, drew the weights from Kaiming's normal: sqrt(6) times as large"
    v1 = dict(data=GOOD['data']|dict(n_val=500), n_images=500)
    for variant in ('self','simple'): put(tmp_path, FIVE, derive(ALL['woof-128-5-v1'], opt='adam-published'), variant, **v1)
    rows = [o for t in published_beside(board_entries(tmp_path)).values() for o in t.to_dict('records') if o['n']==5 and o['split']=='v1']
    differs = {(o['variant'],o['differs']) for o in rows}
    assert differs=={('self',"self-attention's initial weights as in fastai 2; those of fastai 1 are 2.4 times as large"), ('simple','')}
    torch = pytest.importorskip('torch')
    from simpleattn.attention import SelfAttention
    torch.manual_seed(0)
    ours,fastai_1 = SelfAttention(512).value.weight, torch.nn.init.kaiming_normal_(torch.empty(512, 512, 1))
    assert (fastai_1.std()/ours.std()).item()==pytest.approx(math.sqrt(6), rel=.02)

@pytest.mark.parametrize('recipe,variant,table,published_acc', [('cifar10-100','sasa-channelwise','Stand-Alone',.9094), ('cifar10-224-310','botnet-source','Bottleneck',.9511), ('cifar10-224-310-resnet59','botnet-s1-source','Bottleneck',.9598),
    ('woof-x18-128-50-lr1e-3-v1','baseline','learning-rate sweep',.821), ('woof-128-5-ranger','simple','fastai/',.7661)])
def test_every_kind_of_table_finds_its_runs(tmp_path, recipe, variant, table, published_acc):
    put(tmp_path, FIVE, ALL[recipe], variant, n_images=10000 if 'cifar' in recipe else 3929)
    entries = board_entries(tmp_path)
    t = next(t for k,t in published_beside(entries, leaderboard(entries)).items() if table in k)
    mine = t[t.n.notna()]
    assert len(mine)==1 and mine.published.iloc[0]==pytest.approx(published_acc) and mine.arm.iloc[0]==f'{recipe}/{variant}'
    stated = table in ('Stand-Alone','learning-rate sweep')
    assert ('states none' in mine.differs.iloc[0])!=stated and (stated or not mine.replication.iloc[0])

def test_single_runs_are_compared_as_two_samples(tmp_path):
    theirs = np.array([float(o['accuracy'])/100 for o in published('runs') if match_recipe(o, ALL).name=='woof-128-5-v1'])
    ours = [theirs.mean()+x for x in (-.02,-.01,0,.01,.02,.005)]
    put(tmp_path, ours, ALL['woof-128-5-v1'], n_images=500); put(tmp_path, [x+.2 for x in ours], ALL['nette-128-5-v1'], n_images=500)
    t = single_runs_beside(board_entries(tmp_path), delta=.05)
    mine = t[t.verdict.notna()].set_index('arm')
    assert len(t)==38 and len(mine)==2
    o,res = mine.loc['woof-128-5-v1/baseline'],stats.ttest_ind(ours, theirs, equal_var=False)
    assert (o['diff'],o['p'],o['n'],o.n_published)==pytest.approx((np.mean(ours)-theirs.mean(),res.pvalue,6,20)) and o.replication and o.verdict.startswith('equivalent: nothing beyond')
    assert all(min(1, len(mine)*p)==pytest.approx(q) for p,q,v in zip(mine.p, mine.p_verdict, mine.verdict) if v.startswith(('better','worse')))
    assert 'worse' in mine.loc['nette-128-5-v1/baseline'].verdict or 'better' in mine.loc['nette-128-5-v1/baseline'].verdict

# ---- the protocol

def swept(tmp_path, rule, accs, values=('1e-3','3e-3','8e-3'), recipe=WOOF, runs=2):
    "A sweep with records of these accuracies: variant -> for each value its runs"
    s = make_sweep(recipe, ['baseline','simple'], dict(lr=list(values)), runs=runs, rule=rule, root=tmp_path, env=ENV)
    s.declare()
    for k,a in s.arms.items():
        i = list(values).index(s.protocol['values'][a.recipe.name]['lr'])
        put(tmp_path, accs[a.label][i], a.recipe, a.label, s.seeds)
    return s

def test_a_sweep_is_declared_on_the_tune_split_with_its_rule(tmp_path):
    s = make_sweep(WOOF, ['baseline','simple'], dict(lr=['1e-3','3e-3']), root=tmp_path, env=ENV, rule='each')
    d = s.declare()
    assert s.name=='woof-128-5-sweep' and [a.recipe.name for a in s.arms.values()]==['woof-128-5_split-tune_lr-0.001','woof-128-5_split-tune_lr-0.003']*2
    assert all(a.recipe.split=='tune' for a in s.arms.values()) and min(d['seeds'])>=SWEEP
    assert d['protocol']['rule']=='each' and d['protocol']['grid']==dict(lr=['1e-3','3e-3']) and 'highest mean' in d['protocol']['picks']
    assert load_study('woof-128-5-sweep', tmp_path).protocol==d['protocol']
    with pytest.raises(CliError, match='protocol'): make_sweep(WOOF, ['baseline','simple'], dict(lr=['1e-3','3e-3']), root=tmp_path, env=ENV).declare()
    assert {a.label for a in make_sweep(WOOF, ['baseline','simple'], dict(lr=['1e-3','3e-3']), 'b', root=tmp_path, env=ENV).arms.values()}=={'baseline'}
    assert make_sweep(ALL['woof-128-5-v1'], ['baseline'], dict(lr=['1e-3','3e-3']), 'c', root=tmp_path, env=ENV).arms['woof-128-5-v1_split-tune-v1_lr-0.001/baseline'].recipe.split=='tune-v1'
    with pytest.raises(CliError, match='baseline.*each'): make_sweep(WOOF, ['baseline'], dict(lr=['1e-3','3e-3']), rule='best', root=tmp_path)

def test_a_sweep_that_cannot_pick_says_so(tmp_path):
    with pytest.raises(CliError, match='itself on split tune'): make_sweep(derive(WOOF, split='tune'), ['baseline'], dict(lr=['1e-3','3e-3']), root=tmp_path, env=ENV)
    s = swept(tmp_path, 'baseline', dict(baseline=[[None,None]]*3))
    with pytest.raises(CliError, match='No run of baseline trained'): sweep_rows(s)

ACCS = dict(baseline=([.5,.52],[.6,.6],[.9,None]), simple=([.7,.7],[.6,.6],[.7,.7]))

def test_the_rule_picks_for_the_baseline_or_for_each_arm(tmp_path):
    s = swept(tmp_path/'each', 'each', ACCS)
    rows = [o for o in sweep_rows(s) if o['picked']]
    assert [(o['variant'],o['values']['lr'],o['edge']) for o in rows]==[('baseline','3e-3',False),('simple','1e-3',True)], 'a diverged run counts as zero; the first of equals'
    r = reported_study(WOOF, ['baseline','simple'], 'r', 5, s, root=tmp_path/'each', env=ENV)
    assert [(a.recipe.name,a.recipe.lr,a.recipe.split) for a in r.arms.values()]==[('woof-128-5',.003,'v2'),('woof-128-5_lr-0.001',.001,'v2')]
    assert r.protocol==dict(sweep='woof-128-5-sweep', rule='each', picked=dict(baseline=dict(lr='3e-3'), simple=dict(lr='1e-3'))) and not {*r.seeds} & {*s.seeds}
    s = swept(tmp_path/'base', 'baseline', ACCS, ('1e-3','4e-3','8e-3'))
    r = reported_study(WOOF, ['baseline','simple'], 'r', 5, s, root=tmp_path/'base', env=ENV)
    assert {a.recipe.name for a in r.arms.values()}=={'woof-128-5_lr-0.004'} and r.declare()['protocol']['rule']=='baseline'

def test_a_sweep_that_lacks_runs_picks_nothing_and_its_seeds_are_not_reported(tmp_path):
    s = swept(tmp_path, 'baseline', ACCS)
    with pytest.raises(CliError, match='10001'): reported_study(WOOF, ['baseline','simple'], 'r', [1,10001], s, root=tmp_path)
    (tmp_path/'woof-128-5_split-tune_lr-0.001'/'baseline'/ENV/'10000.json').unlink()
    with pytest.raises(CliError, match='lacks 1 runs'): sweep_rows(s)

SLOW = '''
import time
from torch import nn
from simpleattn.variants import register_variant
class Slow(nn.Module):
    def __init__(self, ni): super().__init__()
    def forward(self, x): time.sleep(.3); return x
register_variant('slow', Slow)
'''

@pytest.mark.slow
def test_epochs_are_matched_by_steps_timed_in_a_process_of_its_own(tmp_path, recipe):
    from simpleattn.variants import import_file
    (tmp_path/'slow.py').write_text(SLOW); import_file(tmp_path/'slow.py')
    r = derive(recipe, epochs=400)
    m = match_epochs([(r, get_variant(v)) for v in ('baseline','slow')], 'time', device='cpu', rounds=3)
    assert m['epochs']['baseline']==400 and 1<=m['epochs']['slow']<200 and m['costs']['slow']-m['costs']['baseline']>.8*300/r.bs
    for v in m['epochs']: assert m['epochs'][v]*m['costs'][v]<=400*m['costs']['baseline']*(1+1e-6)
    assert (m['epochs']['slow']+1)*m['costs']['slow']>400*m['costs']['baseline'], 'the most that fit'
    with pytest.raises(CliError, match='slow costs more than all 1 of the baseline'): match_epochs([(recipe, get_variant(v)) for v in ('baseline','slow')], 'time', device='cpu', rounds=3)

def test_steps_are_interleaved(monkeypatch, recipe):
    "The arms take turns: A B A B, not A A B B"
    import torch
    from simpleattn import models
    seen = []
    class Net(torch.nn.Module):
        def __init__(self, name): super().__init__(); self.w,self.name = torch.nn.Parameter(torch.ones(())),name
        def forward(self, x): seen.append(self.name); return self.w*x
    monkeypatch.setattr(models, 'create_model', lambda b, v, *a: Net(v.name))
    assert len(arm_costs([(recipe, get_variant(v)) for v in ('baseline','simple')], device='cpu', rounds=3))==2 and seen==['baseline','simple']*5

def test_a_measurement_that_was_killed_says_so(monkeypatch, recipe):
    import types
    monkeypatch.setattr(sweep.subprocess, 'run', lambda *a, **k: types.SimpleNamespace(returncode=-9, stdout=b'', stderr=b''))
    with pytest.raises(CliError, match='could not be measured: it was killed'): match_epochs([(recipe, get_variant('baseline'))], 'flops')

def test_a_record_older_than_a_field_stands_beside_published_rows(tmp_path):
    r = ALL['woof-128-5-v1']
    put(tmp_path, FIVE, r)
    for p in tmp_path.rglob('*.json'):
        d = json.loads(p.read_text()); del d['sha256'],d['recipe']['compile']
        p.unlink(); write_run(dataclasses.replace(a_run(d['seed']), **{k:v for k,v in d.items() if k!='seed'}), tmp_path)
    assert all('compile' not in json.loads(p.read_text())['recipe'] for p in tmp_path.rglob('*.json'))
    es = board_entries(tmp_path)
    assert sum(t.n.notna().sum() for t in published_beside(es).values())>0 and single_runs_beside(es).n.notna().any()

def test_a_compiled_recipe_is_timed_compiled(monkeypatch, recipe):
    "Each arm's network, once, before its first step; a recipe that does not compile is timed as it is"
    from simpleattn import train
    seen = []
    monkeypatch.setattr(train, 'compiled_once', lambda m: seen.append(m) or m)
    arms = [(derive(recipe, compile=c), get_variant(v)) for c,v in ((True,'baseline'),(False,'simple'),(True,'simple'))]
    assert len(arm_costs(arms, device='cpu', rounds=3))==3
    assert [any('SimpleSelfAttention' in type(o).__name__ for o in m.modules()) for m in seen]==[False,True]

def test_epochs_matched_by_operations_are_exact_and_frozen(tmp_path, monkeypatch, recipe):
    import torch
    from simpleattn.models import cost,create_model
    r = derive(recipe, 'r', epochs=40)
    s = reported_study(r, ['baseline','simple','botnet'], 's', 2, match='flops', root=tmp_path, env=ENV)
    f = {v:cost(create_model(r.backbone, v, 10, r.size, 0, r.stem, r.widen, r.act, r.pool), r.size)['flops'] for v in ('baseline','simple','botnet')}
    for a in s.arms.values():
        v,e = a.label,a.recipe.epochs
        assert e==math.floor(40*f['baseline']/f[v]) and a.recipe.name==('r' if e==40 else f'r_epochs-{e}') and s.protocol['match']['costs'][v]==f[v]
    assert s.arms[next(k for k in s.arms if k.endswith('simple'))].recipe.epochs<40
    s.declare()
    monkeypatch.setattr(sweep, 'match_epochs', lambda *a, **k: pytest.fail('measured again'))
    again = reported_study(r, ['baseline','simple','botnet'], 's', 2, match='flops', root=tmp_path, env=ENV)
    assert again.declare()==s.declare() and [a.key for a in again.arms.values()]==[a.key for a in s.arms.values()]
    with pytest.raises(pytest.fail.Exception, match='measured again'): reported_study(derive(r, epochs=20), ['baseline','simple','botnet'], 's', 2, match='flops', root=tmp_path, env=ENV)

def test_a_layer_that_cannot_be_built_is_one_sentence(recipe):
    with pytest.raises(CliError, match='could not be measured') as e: match_epochs([(recipe, get_variant('baseline')), (recipe, Variant('bad', 'nowhere:Layer'))], 'flops')
    assert '\n' not in str(e.value)
    with pytest.raises(CliError, match='time or flops'): match_epochs([], 'memory')

@pytest.mark.parametrize('args,says', [(['--contrasts','a:b'],'contrasts'), (['--pick','best'],'baseline.*each'), (['--match','memory'],'time or flops'), (['--baseline','self'],'not an arm'), (['--variants','tiny/baseline,simple'],'plain'),
    (['--sweep-runs','1'],'two different seeds'), (['--seeds','1,x'],'whole numbers')])
def test_a_protocol_that_cannot_be_meant_is_one_sentence(call, tiny, settings, args, says):
    given = ['lr=1e-3,3e-3'] if args[0] not in ('--match','--seeds') else ['lr=1e-3']
    code,out,err = call('study', 'tiny', *args, '--set', *given, '--settings', settings, '--data', tiny, '--device', 'cpu', '--engine', 'serial')
    assert code==2 and out=='' and re.search(says, err) and bits('runs')=={}

def test_several_values_of_a_tuple_or_of_a_single_run_are_no_sweep(call, tiny, settings):
    assert call('train', 'tiny', '--set', 'lr=1e-3,3e-3', '--settings', settings, '--data', tiny)[0]==2
    from simpleattn.cli import _grid
    assert _grid(['stem=16,32,64','lr=1,2','bs=8','opt=adam,sgd'])==(['stem=16,32,64','bs=8'], dict(lr=['1','2'], opt=['adam','sgd']))

@pytest.mark.slow
def test_sweep_pick_match_and_report_from_the_command_line(call, tiny, settings):
    args = ['study','tiny','--variants','simple,baseline','--baseline','baseline','--set','split=tune','lr=1e-3,1e-2','bs=4','epochs=3','--pick','each','--sweep-runs','2','--runs','2','--match','flops',
        '--settings',settings,'--data',tiny,'--device','cpu','--engine','serial']
    code,out,err = call(*args, '--name', 's')
    sweep,s = load_study('s-sweep'),load_study('s')
    assert sweep.missing()==[] and len(sweep.arms)==4 and {a.recipe.name.split('_split')[1] for a in sweep.arms.values()}=={'-tune_lr-0.001','-tune_lr-0.01'} and 'picked' in err
    assert s.missing()==[] and s.baseline.endswith('/baseline') and s.protocol['rule']=='each' and {*s.protocol['match']['epochs']}=={'baseline','simple'} and not {*s.seeds} & {*sweep.seeds}
    assert code==0 and s.baseline in out, err
    before = bits('runs')
    assert call(*args, '--name', 's')[:2]==(code,out) and bits('runs')==before

@pytest.mark.slow
def test_the_published_protocol_on_the_demo_recipe(tmp_path):
    args = ['study','demo','--variants','baseline,simple','--set','split=tune','lr=1e-3,1e-2','epochs=2','--sweep-runs','2','--runs','2','--match','flops','--device','cpu','--root',tmp_path/'runs','--name','p']
    res = cli(*args, timeout=1500)
    assert res.returncode==0, res.stderr
    sweep,s = load_study('p-sweep', tmp_path/'runs'),load_study('p', tmp_path/'runs')
    pick, = [o for o in sweep_rows(sweep) if o['picked']]
    assert s.protocol['picked']=={'baseline':pick['values']} and s.protocol['sweep']=='p-sweep' and s.missing()==[] and not {*s.seeds} & {*sweep.seeds}
    base,simple = (json.loads(next((tmp_path/'runs'/a.recipe.name/a.label).rglob('0.json')).read_text())['recipe'] for a in s.arms.values())
    assert base['split']==simple['split']=='v2' and base['lr']==simple['lr']==float(pick['values']['lr']) and (base['epochs'],simple['epochs'])==(2,1)
    assert 'Report: ' in res.stdout and 'picked' in res.stderr
    before = bits(tmp_path/'runs')
    again = cli(*args, timeout=300)
    assert again.returncode==0 and again.stdout==res.stdout and bits(tmp_path/'runs')==before

@pytest.mark.parametrize('args,says', [([],"'tiny' was declared otherwise"), (['--name','other','--seeds','10000,10001'],'used by sweep'), (['--name','other','--runs','1'],'two different seeds'),
    (['--name','other','--variants','baseline'],'at least one other'), (['--name','r','--match','flops'],"'r' was declared otherwise"), (['--name','r','--seeds','3,4'],'declared with the seeds')], ids=str)
def test_what_would_be_refused_after_a_sweep_is_refused_before_it(call, tiny, settings, args, says):
    recipe = load_recipes(settings)['tiny']
    Study('tiny', ['baseline','simple'], 2, recipe=recipe, root='runs', env=ENV).declare()
    arms = [(derive(recipe, lr='1e-3'), v) for v in ('baseline','simple')]
    Study('r', arms, 2, root='runs', env=ENV, protocol=dict(sweep='r-sweep', rule='baseline')).declare()
    before = bits('runs')
    code,out,err = call('study', 'tiny', '--set', 'lr=1e-3,3e-3', *args, '--settings', settings, '--data', tiny, '--device', 'cpu', '--engine', 'serial')
    assert code==2 and says in err and bits('runs')==before

def test_a_value_that_is_given_twice_is_not_swept_twice(tmp_path):
    with pytest.raises(CliError, match='lr=1e-3,0.001 has one twice'):
        make_sweep(WOOF, ['baseline'], dict(lr=['1e-3','0.001']), root=tmp_path, env=ENV)

def test_a_pick_of_a_race_says_that_its_interval_does_not_know_of_it(tmp_path):
    put(tmp_path, FIVE); put(tmp_path, [x+.01 for x in FIVE], variant='simple')
    pick, = leaderboard(board_entries(tmp_path))
    assert 'race' not in pick.picked_words
    race = Study('race', ['baseline','simple'], 5, recipe=WOOF, root=tmp_path, env=ENV, raced=dict(arms=1)); race.declare()
    pick, = leaderboard(board_entries(tmp_path))
    assert pick.raced and pick.picked_words.endswith('A race chose how many seeds there are, and this interval does not allow for that.')

def test_a_damaged_declaration_stops_no_leaderboard(tmp_path):
    put(tmp_path, FIVE); put(tmp_path, [x+.01 for x in FIVE], variant='simple')
    (tmp_path/'_studies').mkdir(); (tmp_path/'_studies'/'odd.json').write_text('{broken'); (tmp_path/'_studies'/'A b.json').write_text('[]')
    pick, = leaderboard(board_entries(tmp_path))
    assert pick.arm.variant.name=='simple' and not pick.raced
