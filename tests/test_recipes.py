"""Recipes: every published row has one, every mistake is named, and a hash means what it meant"""
import dataclasses,hashlib,json,math
from dataclasses import dataclass
from types import SimpleNamespace
import pytest
from fastcore.script import CliError
from conftest import ROOT
from simpleattn import recipes as lib
from simpleattn.cli import main
from simpleattn.published import epochs_beside,match_recipe,published,published_epochs,row_recipe,row_variant
from simpleattn.recipes import PIPELINE,Recipe,check_seed,choices,derive,load_recipes,setting_text,settings_path,stream
from simpleattn.variants import Variant,get_variant,spelled,variants

ALL = load_recipes(ROOT/'settings.ini')

# ---- every published row

NO_RECIPE = {'fastai/imagenette leaderboard (snapshot 2022-09-27)', 'BottleneckTransformers PyTorch README'} # Best entries of many; a table without settings

def test_the_rows_without_a_recipe_are_the_listed_ones():
    assert {r['source'] for r in published('accuracy') if row_recipe(r) is None}==NO_RECIPE
    assert {r['source'] for r in published('accuracy') if row_recipe(r)}=={'SimpleSelfAttention README 2019-05-21', 'SimpleSelfAttention README 2019-05-28',
        'SimpleSelfAttention v0.3 README 2019-06-21', 'Stand-Alone-Self-Attention PyTorch README'}

@pytest.mark.parametrize('table,n', [('accuracy',41), ('runs',740)])
def test_every_published_training_row_has_one_recipe_and_one_variant(table, n):
    rows = [r for r in published(table) if r['source'] not in NO_RECIPE]
    assert len(rows)==n
    for row in rows:
        r = match_recipe(row, ALL)
        assert (r.dataset,r.size,r.epochs,r.backbone)==(row['dataset'],int(row['size_px']),int(row['epochs']),row['model']+'-cifar'*(row['dataset']=='cifar10'))
        assert r.split==row['split'] or (r.dataset,row['split'])==('cifar10','test')
        assert get_variant(row_variant(row)).name==row_variant(row)
        assert row_variant(row)==row['variant'] or row['dataset']=='cifar10'

def test_the_public_implementations_attention_is_the_channelwise_form_and_leaders_name_no_variant():
    said = {(r['source'].split()[0],r['model'],r['variant']):row_variant(r) for r in published('accuracy')}
    assert said['Stand-Alone-Self-Attention','resnet26','sasa']=='sasa-channelwise'
    assert said['Stand-Alone-Self-Attention','resnet26','sasa+attention-stem']=='sasa-channelwise-stem'
    assert said['BottleneckTransformers','botnet50','heads=1']=='botnet-source' and said['BottleneckTransformers','botnet-s1-59','heads=1']=='botnet-s1-source'
    assert said['BottleneckTransformers','botnet50','heads=4'] is None, 'there each head has positions of its own'
    assert {v for k,v in said.items() if 'leaderboard' in k[0] or k[0].startswith('fastai')}=={None}

def test_rows_of_runs_differ_in_what_they_state():
    "36 arms of the optimiser study and the notebook's one: no two settings share a recipe"
    keys = 'dataset split size_px epochs batch model optimiser lr schedule'.split()
    rows = {tuple(r[k] for k in keys):r for r in published('runs')}
    assert len(rows)==len({match_recipe(r, ALL).name for r in rows.values()})==37

def test_the_last_published_epoch_is_the_published_run():
    "720 of the 740 runs, arm by arm"
    keys = 'dataset split size_px epochs batch model optimiser lr variant run'.split()
    def key(row): return tuple(row[k] for k in keys)
    runs = {key(r):float(r['accuracy']) for r in published('runs')}
    last = {key(r):100*float(r['accuracy']) for r in published('epochs') if r['epoch']==r['epochs']}
    assert len(last)==720 and len(published('epochs'))==3600
    assert all(runs[k]==pytest.approx(acc) for k,acc in last.items())

@pytest.mark.slow
def test_published_epochs_are_of_a_recipe_and_what_may_differ_in_it():
    def n(recipe): return len(published_epochs(recipe))
    of_study = [r for r in ALL.values() if n(r)]
    assert {n(r) for r in of_study}=={100} and len(of_study)==36
    assert n(derive(ALL['woof-128-5-v1'], precision='bfloat16', compile=True))==100
    assert n(derive(ALL['woof-128-5-v1'], opt='adam-published'))==100, 'either form of Adam'
    assert n(derive(ALL['woof-128-5-ralamb-v1'], opt='ralamb'))==0, "LAMB's trust ratio is another optimiser"
    assert n(derive(ALL['woof-128-5-v1'], lr=1e-2))==n(ALL['woof-128-5'])==0
    assert n(derive(ALL['woof-128-5-v1'], callbacks='fastai.callback.training:GradientClip(1.0)'))==0

def test_our_epochs_stand_beside_the_published_ones():
    "Means, and the distance in sds; a run that was broken off has fewer epochs"
    epoch = dict(train_loss=2.2, valid_loss=2.5, acc=.25)
    table = epochs_beside(ALL['woof-128-5-v1'], [SimpleNamespace(history=[epoch]), SimpleNamespace(history=[epoch, dict(epoch, train_loss=2.)])])
    train = table.train_loss
    assert table.index.tolist()==[1,2,3,4,5] and train.ours.tolist()[:2]==[2.2,2.] and train.ours[2:].isna().all()
    assert round(train.published[1], 4)==2.1505 and round(train.sd[1], 3)==.019
    assert train.our_sd[1]==0 and math.isnan(train.our_sd[2]), 'one run has no spread'
    assert train.above[1]==pytest.approx((2.2-train.published[1])/train.sd[1]) and table.accuracy.ours[1]==.25

def test_a_row_that_no_recipe_repeats_is_an_error():
    with pytest.raises(CliError, match='0 recipes repeat'): match_recipe(dict(published('accuracy')[0], epochs='6'), ALL)

PUBLISHED = dict(split='v1', bs=64, lr=3e-3, sched='one-cycle', div=10., pct_start=.3, opt='adam', mom=.9, sqr_mom=.99, eps=1e-6, wd=1e-2, smooth=.1,
    crop='resized', crop_min=.35, flip=True, mixup=0., backbone='xresnet50', stem=(32,64,64), widen=1., act='relu', noise=0, presize=0)

@pytest.mark.parametrize('name,size,source,epochs',
    [(f'{d}-{s}-{e}', s, {128:'160',256:'full'}[s], e) for d in ('woof','nette') for s in (128,256) for e in (5,20,80,400)])
def test_the_published_recipe_has_the_published_numbers(name, size, source, epochs):
    for r,split in ((ALL[o],split) for o,split in ((name,'v2'), (f'{name}-v1','v1')) if o in ALL):
        want = dict(PUBLISHED, dataset={'w':'imagewoof','n':'imagenette'}[name[0]], split=split, size=size, source=source, epochs=epochs)
        assert {k:getattr(r,k) for k in want}==want

@pytest.mark.parametrize('name', ['woof-128-5','woof-256-5','woof-256-20','woof-256-80','woof-256-400','nette-128-5','nette-256-5','nette-256-20'])
def test_v1_names_the_published_split(name):
    assert {f.name for f in dataclasses.fields(Recipe) if getattr(ALL[name],f.name)!=getattr(ALL[f'{name}-v1'],f.name)}<={'name','split','precision'}

def test_equal_run_time_and_learning_rate_rows():
    v03 = [match_recipe(r, ALL) for r in published('accuracy') if 'v0.3' in r['source']]
    assert {r.backbone for r in v03}=={'xresnet18'}
    assert {r.lr for r in v03}=={1e-3,3e-3,5e-3,8e-3,1e-2,12e-3,14e-3}
    assert {(r.size,r.epochs,r.mixup) for r in v03
        if r.lr==8e-3}=={(128,50,0.),(128,47,0.),(128,100,0.),(128,94,0.),(128,100,.2),(128,94,.2),(256,50,.2),(256,47,.2)}

def test_fastais_present_recipe():
    for name in ('woof-128-5-ranger','nette-256-20-ranger'):
        r = ALL[name]
        assert (r.split,r.opt,r.act,r.sched,r.stem)==('v2','ranger','mish','flat-cos',(32,32,64))

@pytest.mark.parametrize('field,values',
    dict(size=[128,256], source=['160','320','full'], bs=[32,64], lr=[1e-3], mixup=[0.,.2], opt=['adam','rms','sgd','ranger'],
    sched=['one-cycle','flat-cos'], backbone=['xresnet18','xresnet50'], stem=[(32,64,64),(32,32,64)], act=['relu','mish'], epochs=[5], noise=[0,1,5,25,50],
    precision=['float32','bfloat16','float16'], split=['v1','v2','tune']).items())
def test_every_option_of_the_original_scripts_is_a_field(field, values):
    for v in values: assert getattr(Recipe('r', **{field:v}), field)==v

# ---- mistakes

def write(tmp_path, *lines):
    p = tmp_path/'mine.ini'
    p.write_text('[mine]\n'+'\n'.join(lines)+'\n')
    return p

BAD = [('learning_rate','1'), ('name','other'), ('lr','fast'), ('lr','nan'), ('lr','inf'), ('lr','0'), ('lr','-1'), ('epochs','0'), ('epochs','2.5'),
    ('bs','0'), ('bs','many'),
    ('size','-32'), ('wd','-1'), ('opt','adamw'), ('split','v3'), ('noise','7'), ('precision','float64'), ('act','gelu'), ('sched','cosine'), ('crop','none'),
    ('pool','sum'), ('stem','32,64'), ('stem','a,b,c'), ('stem','32.5,64,64'), ('moms','0.9'), ('flip','perhaps'), ('crop_min','1.5'), ('crop_min','0'),
    ('pct_start','2'), ('smooth','1.5'), ('mixup','-0.2'), ('div','0'), ('widen','0'), ('epochs','')]

@pytest.mark.parametrize('key,text', BAD, ids=lambda o:o or 'empty')
def test_a_mistake_names_the_key_and_the_recipe(tmp_path, key, text):
    with pytest.raises(CliError) as e: load_recipes(write(tmp_path, f'{key} = {text}'))
    assert "'mine'" in str(e.value) and key in str(e.value)

@pytest.mark.parametrize('change', [dict(lr='fast'), dict(lr=None), dict(bs=8.), dict(epochs=True), dict(stem=[32,64]), dict(opt='lion'), dict(nonsense=1)])
def test_a_mistake_in_python_names_the_key_and_the_recipe(change):
    with pytest.raises(CliError) as e: derive(ALL['demo'], 'mine', **change)
    assert next(iter(change)) in str(e.value) and any(o in str(e.value) for o in ("'mine'","'demo'"))

@pytest.mark.parametrize('change,says', [(dict(lr=0.), 'lr = 0.0 must be above 0'), (dict(opt='adamw'), "opt = 'adamw' is not one of adam, rms"),
    (dict(presize=96, crop='pad'), 'does not go with crop = pad'), (dict(epoch='5'), 'Did you mean epochs')])
def test_a_mistake_says_what_would_do(change, says):
    with pytest.raises(CliError, match=says): derive(ALL['demo'], 'mine', **change)

@pytest.mark.parametrize('name', ['Upper','a b','a/b','','../x'])
def test_a_name_holds_only_letters_digits_dot_dash_underscore(name):
    with pytest.raises(CliError, match='name'): Recipe(name)

def test_a_name_that_is_too_long_is_said_to_be():
    assert Recipe('a'*200).name
    with pytest.raises(CliError, match='is longer than 200 letters'): Recipe('a'*201)

def test_a_file_that_is_no_settings_file_is_an_error(tmp_path):
    for text in ('lr = 1', '[a]\nlr = 1\n[a]\nlr = 2', '[a]\nlr 1'):
        (tmp_path/'x.ini').write_text(text)
        with pytest.raises(CliError, match='x.ini'): load_recipes(tmp_path/'x.ini')

def test_a_settings_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(CliError, match='nowhere.ini'): load_recipes(tmp_path/'nowhere.ini')

def test_an_unknown_recipe_suggests_near_names():
    with pytest.raises(CliError, match='woof-128-5,') as e: ALL['woof-128-4']
    assert 'simpleattn recipes' in str(e.value)

def test_percent_signs_stand_for_themselves(tmp_path): assert load_recipes(write(tmp_path, 'dataset = 50%(off)s %'))['mine'].dataset=='50%(off)s %'

def test_a_mark_before_the_first_letter_hides_no_recipe(tmp_path, monkeypatch):
    "As Windows' Notepad writes it"
    (tmp_path/'settings.ini').write_bytes(b'\xef\xbb\xbf[mine]\nepochs=1\n')
    monkeypatch.chdir(tmp_path)
    assert load_recipes()['mine']==load_recipes(tmp_path/'settings.ini')['mine']==Recipe('mine', epochs=1)

def test_settings_are_looked_for_in_order(tmp_path, monkeypatch):
    mine = write(tmp_path, 'lr = 1')
    monkeypatch.chdir(tmp_path)
    assert settings_path(mine)==mine
    assert load_recipes().path==ROOT/'simpleattn'/'settings.ini'
    (tmp_path/'settings.ini').write_text('[here]\n')
    assert [*load_recipes()]==[*ALL, 'here'] and [*load_recipes(mine)]==['mine'] and load_recipes(mine)['demo']==ALL['demo'] and load_recipes().own==['here'], 'over the built-in ones'

def test_a_settings_file_of_another_tool_hides_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'settings.ini').write_text('[DEFAULT]\nlib_name = x\nversion = 1\n[tool]\nwidth = 3\n[metadata]\nname = x\n[mine]\nepochs = 7\n[demo]\nlr = 1\n')
    recipes = load_recipes()
    assert recipes['mine'].epochs==7 and recipes['demo'].lr==1 and {*recipes}=={*ALL, 'mine'} and recipes.own==['mine','demo']
    with pytest.raises(CliError, match=r'\[tool\] has no key of a recipe'): recipes['tool']

FOREIGN = dict(unknown='[train]\nlr = 0.1\nnum_workers = 8\n', other_type='[train]\nlr = auto\n', no_header='lr = 3\n', twice='[a]\nlr = 1\nlr = 2\n',
    latin1='[a]\nname = caf\xe9\n'.encode('latin-1'), utf16='[a]\nlr = 1\n'.encode('utf-16'))

@pytest.mark.parametrize('kind', FOREIGN)
def test_a_settings_file_that_was_found_stops_nothing_and_says_why_when_asked(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    content = FOREIGN[kind]
    (tmp_path/'settings.ini').write_bytes(content if isinstance(content, bytes) else content.encode())
    assert {*load_recipes()}=={*ALL} and load_recipes()['demo']==ALL['demo']
    assert main(['recipes','demo'])==0
    said = capsys.readouterr()
    assert said.err.startswith('Passed over: ') and said.err.count('\n')==1 and 'shapes' in said.out
    if '[train]' in str(content):
        with pytest.raises(CliError, match="Recipe 'train'"): load_recipes()['train']
    with pytest.raises(CliError): load_recipes('settings.ini')

def test_a_mistake_in_a_recipe_is_not_answered_by_the_built_in_one_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'settings.ini').write_text('[demo]\nepochz = 7\nlr = 1\n')
    with pytest.raises(CliError, match='epochz'): load_recipes()['demo']
    assert load_recipes()['woof-cpu']==ALL['woof-cpu']

def test_a_recipe_that_replaces_a_built_in_one_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'settings.ini').write_text('[demo]\nepochs = 7\n[mine]\nepochs = 8\n')
    assert main(['recipes','demo'])==0
    assert capsys.readouterr().err=='Recipe mine of settings.ini, beside the built-in ones.\nRecipe demo of settings.ini, in place of the built-in one.\n'

# ---- derive

def test_derive_changes_what_it_says_and_names_itself():
    r = derive(ALL['demo'], lr='1e-2', epochs=7)
    assert (r.lr,r.epochs,r.name)==(.01,7,'demo_lr-0.01_epochs-7')
    assert derive(ALL['demo'], 'mine', lr=.01, epochs=7).hash==r.hash!=ALL['demo'].hash
    assert derive(ALL['demo'], stem=(8,16,64)).name=='demo_stem-8-16-64'

# ---- identity

@pytest.mark.parametrize('name,want', dict(demo='99fc09d06958', **{'woof-cpu':'c7b48ddbdf21', 'woof-128-5-v1':'4e8bb4c55f68'}).items())
def test_hashes_stay_what_they_were(name, want): assert ALL[name].hash==want, 'runs of this recipe are no longer found: make a new recipe instead'

def test_defaults_stay_what_they_were():
    "A hash leaves defaults out, so a default that changes would give old hashes a new meaning"
    d = {k:v for k,v in Recipe('r').to_dict().items() if k in FIELDS}
    assert hashlib.sha256(json.dumps(d, sort_keys=True).encode()).hexdigest()[:12]=='5ef9dc5c856c', d
FIELDS = ('dataset split source noise presize size crop crop_min val_extra flip bs epochs backbone stem widen act pool lr opt mom sqr_mom eps wd decouple_wd '
    'sched div '
          'pct_start moms step_epochs step_gamma smooth mixup precision').split()

def other(f):
    "A valid value of a field that is not its default"
    if f.name=='callbacks': return ('fastai.callback.mixup:CutMix()',)
    if f.name in choices: return next(o for o in choices[f.name] if o!=f.default)
    return {bool:lambda: not f.default, int:lambda: f.default+1, float:lambda: f.default/2 or .5, str:lambda: f.default+'x', tuple:lambda: (1,2,3)}[f.type]()

@pytest.mark.parametrize('field', [f for f in dataclasses.fields(Recipe) if f.name!='name'], ids=lambda f:f.name)
def test_the_hash_changes_with_every_field(field): assert Recipe('r', **{field.name:other(field)}).hash!=Recipe('r').hash

def test_the_hash_does_not_depend_on_the_name(): assert Recipe('a', lr=.1).hash==Recipe('b', lr=.1).hash

def test_whole_numbers_are_the_same_floats(): assert Recipe('r', lr=1, wd=0).hash==Recipe('r', lr=1., wd=0.).hash

def test_the_hash_changes_with_the_pipeline(monkeypatch):
    before = ALL['demo'].hash
    monkeypatch.setattr(lib, 'PIPELINE', PIPELINE+1)
    assert ALL['demo'].hash!=before

def test_a_new_field_keeps_old_hashes():
    @dataclass(frozen=True)
    class Longer(Recipe): brightness:float=0.
    d = {f.name:getattr(ALL['demo'],f.name) for f in dataclasses.fields(Recipe)}
    assert Longer(**d).hash==ALL['demo'].hash!=Longer(**d, brightness=.1).hash

def test_no_two_recipes_are_the_same(): assert len({r.hash for r in ALL.values()})==len(ALL)

def test_the_two_small_recipes_differ_in_their_images_only():
    assert derive(ALL['woof-cpu'], 'nette-cpu', dataset='imagenette')==ALL['nette-cpu']

def test_a_recipe_cannot_be_edited():
    with pytest.raises(dataclasses.FrozenInstanceError): ALL['demo'].lr = 1.

def test_to_dict_makes_the_recipe_again():
    for r in ALL.values():
        d = json.loads(json.dumps(r.to_dict()))
        assert Recipe(**{k:tuple(v) if isinstance(v,list) else v for k,v in d.items()})==r

def held(name):
    "A recipe of the settings; a derived one is in its records"
    if name in [*ALL]: return ALL[name]
    from simpleattn.runs import find_runs
    return Recipe(**find_runs(ROOT/'runs', recipe=name)[0][0].recipe)

@pytest.mark.parametrize('file', sorted((ROOT/'runs'/'_studies').glob('*.json')), ids=lambda f:f.stem)
def test_recipes_and_variants_with_committed_runs_were_not_edited(file):
    for a in json.loads(file.read_text())['arms']:
        assert held(a['recipe']).hash==a['recipe_hash']
        v = Variant.from_dict(a['variant'])
        if v.name.partition('-at-')[0] in variants(): assert get_variant(spelled(v))==v

def test_a_seed_is_a_whole_number_of_any_kind():
    import numpy as np
    assert [type(check_seed(o)) for o in (3, np.int64(3), np.uint8(3))]==[int]*3
    for o in (True, np.bool_(True), 3., '3', -1, np.int64(-1), 2**32, None):
        with pytest.raises(CliError, match='a seed is a whole number'): check_seed(o)

@pytest.mark.parametrize('seed', [1.7, True, '1'])
def test_a_seed_that_is_none_trains_nothing(seed, tmp_path):
    from simpleattn.train import get_learner,train_one
    with pytest.raises(CliError, match='a seed is a whole number'): train_one('demo', seed=seed, root=tmp_path)
    with pytest.raises(CliError, match='a seed is a whole number'): get_learner('demo', seed=seed)

def test_streams_are_the_same_everywhere_and_apart():
    assert stream(0,'order',1)==7021862330116196507
    s = [stream(*o) for o in ((0,'order',0),(0,'order',1),(1,'order',0),(0,'augment',0),(0,'order'),(-1,'order',0))]
    assert len(set(s))==len(s) and all(0<=o<2**63 for o in s)

def test_a_derived_name_is_for_people_and_is_not_read_back():
    "A record holds its recipe in full, so no name has to be understood"
    base = load_recipes(ROOT/'settings.ini')
    with pytest.raises(CliError, match='No recipe'): base[derive(base['demo'], lr=8e-3).name]

def test_a_recipe_is_meant_by_its_name():
    from simpleattn.recipes import named_recipe
    demo = load_recipes()['demo']
    assert named_recipe('demo')==demo==named_recipe(demo) and derive('demo', lr=.1)==derive(demo, lr=.1)
    with pytest.raises(CliError, match="No recipe 'dmeo'.*demo"): derive('dmeo', lr=.1)

@pytest.mark.parametrize('name', ['demo','woof-cpu','woof-128-5-v1'])
def test_a_value_is_read_back_as_it_is_written(name):
    recipe = load_recipes()[name]
    values = {k:getattr(recipe, k) for k in recipe.to_dict() if k!='name'}
    assert len(values)>20 and {k:lib._from_text(setting_text(v), lib._types[k]) for k,v in values.items()}==values
