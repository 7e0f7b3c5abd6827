"""Variants: declarative, torch-free, and identified by what they are"""
import dataclasses,json,os,shutil,sys
import pytest
from fastcore.script import CliError
from conftest import cli,python
from simpleattn.recipes import NamedRecipe,Recipe
from simpleattn.variants import Arm,Variant,get_variant,has_source,import_file,layer_identity,load_layer,parse_site,read_arm,register_variant,spelled,variants

def light(tmp_path, text, name='mine.py'):
    "A user's file without torch"
    p = tmp_path/name
    p.write_text(text)
    return p

# ---- sites

@pytest.mark.parametrize('text,want',
    [('1.-1',[(1,-1)]), ('2.0',[(2,0)]), ('1.-1,2.-1',[(1,-1),(2,-1)]), ('1.-1+2.-1',[(1,-1),(2,-1)]), ('replace:4',[(4,None)]),
    ('replace:3, replace:4',[(3,None),(4,None)]), ('1.-1,replace:4',[(1,-1),(4,None)]),
    ('stem',[(0,'stem')]), ('replace:1-4',[(1,None),(2,None),(3,None),(4,None)]), ('replace:2-2',[(2,None)]), ('stride1:4,replace:4',[(4,'stride1'),(4,None)]),
    ('stem, replace:3-4+1.0',[(0,'stem'),(3,None),(4,None),(1,0)])])
def test_a_site_is_read(text, want): assert parse_site(text)==want

@pytest.mark.parametrize('text',
    ['','1','1.','.1','a.b','1.-1,','replace','replace:','replace:4.1','-1.1','1.-1;2.-1','1.-1,1.-1','stem,stem','stem:1','stride1','stride1:4,stride1:4','replace:1-4,replace:2','replace:1-','replace:4-1','replace:-1','1.-1,replace:4-2','Stem'])
def test_a_text_that_is_no_site_is_an_error(text):
    with pytest.raises(CliError): parse_site(text)

@pytest.mark.parametrize('text,says', [('last','A site is STAGE.BLOCK'), ('1.-1,1.-1','names a place twice'), ('replace:4-1','write replace:1-4')])
def test_the_message_says_how_a_site_is_written(text, says):
    with pytest.raises(CliError, match=says): parse_site(text)

OURS = dict(self='1.-1', symmetric='1.-1', **{'ladder-full-rank':'1.-1', 'self-no-conv':'1.-1', 'attention-stem':'stem', 'sasa':'replace:1-4',
    'sasa-24':'replace:2-4', 'sasa-4':'replace:4', 'sasa-12':'replace:1-2',
    'sasa-window11':'replace:1-4', 'stride1':'stride1:4', 'botnet':'replace:4', 'botnet-s1':'stride1:4,replace:4', 'timm-halo':'replace:4', 'timm-nl':'1.-1'})

@pytest.mark.parametrize('name,site', OURS.items())
def test_where_a_variant_of_the_library_goes(name, site): assert parse_site(get_variant(name).site)==parse_site(site)

def test_the_default_site_is_the_last_block_of_the_first_stage():
    assert Variant('a').site==Variant('a', 'a:B').site=='1.-1'
    assert register_variant.__defaults__[1]=='1.-1'

def test_an_edited_layer_of_ones_own_is_another_variant_however_it_is_named(tmp_path, monkeypatch):
    "By module:Class too, which is imported; a package is known by its version, also where its class is at the top"
    import sys
    monkeypatch.syspath_prepend(tmp_path)
    def hashed(k):
        (tmp_path/'own_layers.py').write_text(f'class Gate:\n    def forward(self, x): return {k}*x\n')
        sys.modules.pop('own_layers', None); sys.path_importer_cache.clear()
        return Variant('g', 'own_layers:Gate').hash
    first = hashed(2)
    assert hashed(31)!=first and hashed(2)==first
    import timm
    assert layer_identity('timm:Any')==f'timm:Any {timm.__version__}' and layer_identity('simpleattn.attention:SelfAttention')=='simpleattn.attention:SelfAttention'

EDITED = [('functools.partial(dict, a=1)','functools.partial(dict, a=2)'), ('types.SimpleNamespace(k=1)','types.SimpleNamespace(k=2)'), ('np.arange(3)','np.arange(4)'),
    ('torch.ones(2)','torch.zeros(2)'), ('torch.ones(2, dtype=torch.bfloat16)','torch.zeros(2, dtype=torch.bfloat16)'), ('np.zeros(2)','np.zeros((2,1))'), ('torch.float32','torch.float64'), ('torch.nn.LeakyReLU(.1)','torch.nn.LeakyReLU(.9)'),
    ('functools.lru_cache(lambda x: x)','functools.lru_cache(lambda x: 2*x)')]

@pytest.mark.parametrize('old,new', EDITED, ids=[o for o,_ in EDITED])
def test_what_a_layer_uses_is_a_part_of_it(tmp_path, old, new):
    "A value of its module, whatever it is; the same text twice is the same layer"
    from simpleattn.variants import identity,import_file
    def ident(k, v):
        (tmp_path/f'{k}.py').write_text(f'import functools,types\nimport numpy as np,torch\nUSED = {v}\nclass Gate:\n    def forward(self, x): return USED, x\n')
        return identity(import_file(tmp_path/f'{k}.py').Gate)
    assert ident('a', old)==ident('b', old)!=ident('c', new)

def test_an_object_that_says_only_its_address_is_known_by_its_type(tmp_path):
    from simpleattn.variants import identity
    class Own: pass
    assert identity(Own())==identity(Own()) and '0x' not in identity(Own())

def test_what_a_layer_is_made_of_is_the_same_in_every_process_and_folder(tmp_path):
    "Sets have no order, and a file may be moved"
    text = "import types\nfrom pathlib import Path\nUSED = types.SimpleNamespace(names={'a','b','c','d','e'}), Path(__file__)\nclass Gate:\n    def forward(self, x): return USED, x\n"
    said = set()
    for i in range(4):
        (tmp_path/str(i)).mkdir(); (tmp_path/str(i)/'own.py').write_text(text)
        said.add(python("import sys; from simpleattn.variants import Variant; print(Variant('own', sys.argv[1]).hash)", f'{tmp_path}/{i}/own.py:Gate', env=dict(PYTHONHASHSEED=str(i))).stdout)
    assert len(said)==1 and len(said.pop())==13

def test_a_cached_property_is_a_part_and_a_method_patched_twice_is_not():
    import functools
    from fastcore.basics import patch
    from simpleattn.variants import identity
    def one(self): return 1
    def two(self): return 2
    def made(f): return type('A', (), dict(p=functools.cached_property(f)))
    assert identity(made(one))==identity(made(one))!=identity(made(two))
    class B: pass
    @patch
    def f(self:B): return 1
    once = identity(B)
    @patch
    def f(self:B): return 1
    assert hasattr(B, '_orig_f') and identity(B)==once

@pytest.mark.parametrize('name', ['baseline','simple','simple@2.-1','simple@1.-1+2.-1','sasa@replace:4','botnet@stride1:4+replace:4','sasa-stem'])
def test_a_recorded_variant_is_asked_for_as_it_was(name):
    v = get_variant(name)
    assert spelled(Variant.from_dict(v.to_dict()))==name
    older = dict(v.to_dict(), name=v.name.replace('@', '-at-').replace('+', '_'))
    assert spelled(Variant.from_dict(older))==name, 'records of before are found by hash'

def test_a_variant_that_is_not_known_here_keeps_its_recorded_name():
    foreign = dict(name='theirs', layer='theirs.py:Gate', site='2.-1', kwargs={}, hash='0123456789ab')
    assert spelled(Variant.from_dict(foreign))=='theirs'

def test_a_recorded_variant_is_read_without_its_source_and_imports_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'theirs.py').write_text('raise SystemExit("imported")')
    facts = dict(name='theirs', layer='theirs.py:Gate', site='2.-1', kwargs=dict(k=1), also=[get_variant('attention-stem').to_dict()], hash='0123456789ab')
    v = Variant.from_dict(facts)
    assert v.to_dict()==facts and v.hash=='0123456789ab' and not v.is_ours

def test_a_variant_that_is_changed_is_another_one():
    "Also one that came from a record: the hash travels, and does not stay behind"
    import dataclasses
    for v in (get_variant('simple'), Variant.from_dict(get_variant('simple').to_dict())):
        changed = dataclasses.replace(v, name='mine', kwargs=dict(ks=3))
        assert changed.hash==Variant('mine', v.layer, v.site, dict(ks=3)).hash!=v.hash and dataclasses.replace(v, name='other')==v

@pytest.mark.parametrize('wrong', ['', None, 'x', 7, 'ABCDEF012345', '0123456789ab\n'])
def test_a_recorded_variant_without_a_hash_is_refused_and_nothing_is_imported(tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'theirs.py').write_text('raise SystemExit("imported")')
    facts = dict(name='theirs', layer='theirs.py:Gate', site='2.-1', kwargs={}, hash=wrong)
    for o in (facts, dict(facts, hash='0123456789ab', also=[facts])):
        with pytest.raises(CliError, match='not the hash of a variant'): Variant.from_dict(o)

def test_variants_are_equal_by_hash_whatever_they_are_called():
    a,b = get_variant('sasa@replace:4'),get_variant('sasa-4')
    assert a==b and hash(a)==hash(b) and a.name!=b.name and a!=get_variant('sasa')

# ---- arms

def test_an_arm_is_a_recipe_with_a_variant_and_known_by_its_two_hashes():
    a = read_arm('simple@2.-1', Recipe('mine'))
    assert (a.label,a.name,a.key)==('simple@2.-1','mine/simple@2.-1',(Recipe('mine').hash, get_variant('simple@2.-1').hash))
    assert a==read_arm((Recipe('other'),'simple@2.-1'))!=read_arm('simple', Recipe('mine')) and a.can_train
    assert read_arm('demo/self').recipe.name=='demo'

def test_an_arm_goes_through_json_and_is_the_same_but_cannot_train():
    a = read_arm('sasa-stem', Recipe('mine'))
    b = Arm.from_dict(json.loads(json.dumps(a.to_dict())))
    assert a==b and b.to_dict()==a.to_dict() and isinstance(b.recipe, NamedRecipe) and not b.can_train

def test_an_arm_without_a_recipe_is_refused():
    with pytest.raises(CliError, match='An arm has no recipe. Give recipe=, or write the arm as RECIPE/VARIANT'): read_arm('simple')

# ---- names

def test_the_library_has_the_baseline_the_layers_and_the_steps_between_them():
    assert variants()[:4]==['baseline','self','simple','symmetric']
    assert len(variants())==len(set(variants()))>=53
    assert {'sasa','sasa-stem','sasa-stem-standalone','sasa-stem-conv','sasa-absolute','sasa-none','sasa-qr','sasa-channelwise','sasa-channelwise-stem','attention-stem','attention-stem-standalone','attention-stem-conv',
        'stride1','botnet','botnet-s1','botnet-absolute','botnet-none','botnet-source','botnet-s1-source'} <= set(variants())
    assert {f'sasa-{o}' for o in ('1','12','13','24','34','4','window3','window5','window9','window11','heads1','heads2','heads4')} | {f'botnet-heads{n}'
        for n in (1,2,8)} <= set(variants())
    assert {f'timm-{o}' for o in ('bottleneck','halo','lambda','nl','bat','gc','se','eca','cbam')} <= set(variants())
    assert all(get_variant(o).doc for o in variants() if get_variant(o).layer is None or get_variant(o).build().__module__.startswith('simpleattn.'))
    assert {'ladder-full-rank','ladder-one-matrix','ladder-no-softmax','self-no-softmax','self-no-conv'} <= set(variants())

def test_a_name_with_a_site_is_the_variant_at_that_site():
    v = get_variant('simple@2.-1')
    assert (v.name,v.site,v.layer)==('simple@2.-1','2.-1',get_variant('simple').layer)
    assert v.hash!=get_variant('simple').hash==get_variant('simple@1.-1').hash
    several = get_variant('simple@1.-1+2.-1')
    assert (several.name,parse_site(several.site))==('simple@1.-1+2.-1',[(1,-1),(2,-1)])

@pytest.mark.parametrize('name,want', [('sasa@replace:3-4','sasa@replace3+replace4'), ('sasa@replace:3+replace:4','sasa@replace3+replace4'),
    ('botnet@stride1:4+replace:4','botnet@stride14+replace4'), ('attention-stem@stem','attention-stem@stem')])
def test_names_of_sites_are_names(name, want): assert get_variant(name).name==want

def test_what_goes_in_with_a_variant_is_part_of_it():
    "The stem of a full-attention network stays with it at another site, in its record and in its identity"
    a,b = get_variant('sasa'),get_variant('sasa-stem')
    assert (a.layer,a.kwargs,a.site)==(b.layer,b.kwargs,b.site) and a.hash!=b.hash and (a.also,[o.name for o in b.also])==((),['attention-stem'])
    assert len({get_variant(o).hash for o in ('sasa','sasa-stem','sasa-stem-standalone','sasa-stem-conv')})==4
    at = get_variant('sasa-stem@replace:4')
    assert at.also==b.also and at.hash not in (b.hash,get_variant('sasa-4').hash)
    assert get_variant('sasa@replace:4').hash==get_variant('sasa-4').hash and get_variant('botnet@stride1:4+replace:4').hash==get_variant('botnet-s1').hash
    d = json.loads(json.dumps(b.to_dict()))
    assert d['also']==[get_variant('attention-stem').to_dict()] and 'also' not in a.to_dict()

def test_a_variant_may_change_the_backbone_without_a_layer():
    v = get_variant('stride1')
    assert v.layer is None and v.changes and not get_variant('baseline').changes and v.hash not in ('baseline',Variant('a', None, 'stride1:3').hash)
    assert v.to_dict()==dict(name='stride1', layer=None, site='stride1:4', kwargs={}, hash=v.hash)

def test_a_variant_of_ones_own_may_take_a_stem_with_it():
    v = register_variant('mine', 'simpleattn.attention:SelfAttention', '2.-1', also='attention-stem')
    assert [o.name for o in v.also]==['attention-stem'] and v.hash!=get_variant('self@2.-1').hash
    with pytest.raises(CliError, match='No variant'): register_variant('mine', 'a:B', also=['attention-stm'])

def test_a_variant_without_a_layer_goes_to_another_stage():
    "It has a site, so it is not told that it is the baseline"
    assert get_variant('stride1@stride1:3').hash==Variant('a', None, 'stride1:3').hash

@pytest.mark.parametrize('name,says', [('simpel','simple'), ('baseline@1.-1','no site'), ('simple@one','not a site')])
def test_a_wrong_name_is_explained(name, says):
    with pytest.raises(CliError, match=says): get_variant(name)

@pytest.mark.parametrize('name', ['Simple','a b','a/b',''])
def test_a_name_holds_only_letters_digits_dot_dash_underscore(name):
    with pytest.raises(CliError): Variant(name)

def test_arguments_are_json():
    with pytest.raises(CliError, match='arguments must be numbers'): register_variant('mine', 'a:B', f=print)

@pytest.mark.parametrize('value', [float('inf'), float('nan'), [1, {'a':-float('inf')}]], ids=str)
def test_an_argument_that_no_record_could_hold_is_refused(value):
    with pytest.raises(CliError, match="'mine': arguments must be numbers"): Variant('mine', 'a:B', kwargs=dict(scale=value))

def test_a_name_of_the_library_is_refused_for_another_definition():
    for kw in (dict(layer='simpleattn.attention:SelfAttention'), dict(layer='simpleattn.attention:SimpleSelfAttention', site='2.-1'),
               dict(layer='simpleattn.attention:SimpleSelfAttention', ks=3)):
        with pytest.raises(CliError, match="'simple' belongs to the library"): register_variant('simple', **kw)
    register_variant('simple', 'simpleattn.attention:SimpleSelfAttention')
    assert get_variant('simple').hash==GOLDEN['simple']

def test_ones_own_name_may_be_declared_again():
    a = register_variant('mine', 'simpleattn.attention:SimpleSelfAttention', ks=3)
    b = register_variant('mine', 'simpleattn.attention:SimpleSelfAttention', ks=5)
    assert get_variant('mine') is b and a.hash!=b.hash

# ---- identity

GOLDEN = dict(baseline='baseline', self='7439f4141b8b', simple='fb8281f7c92c', symmetric='2da80de5473d')

@pytest.mark.parametrize('name', GOLDEN)
def test_hashes_stay_what_they_were(name): assert get_variant(name).hash==GOLDEN[name], 'runs of this variant are no longer found'

def test_no_two_variants_are_the_same(): assert len({get_variant(o).hash for o in variants()})==len(variants())

def test_the_hash_changes_with_layer_arguments_and_site_and_not_with_name_or_doc():
    v = Variant('a', 'simpleattn.attention:SimpleSelfAttention', '1.-1', dict(ks=1))
    assert Variant('b', v.layer, ' 1.-1', dict(ks=1), 'doc').hash==v.hash
    assert len({v.hash, Variant('a', 'simpleattn.attention:SelfAttention', '1.-1', dict(ks=1)).hash, Variant('a', v.layer, '1.0', dict(ks=1)).hash,
                Variant('a', v.layer, '1.-1', dict(ks=3)).hash, Variant('a', v.layer, 'replace:1', dict(ks=1)).hash})==5

def test_the_order_of_arguments_does_not_count():
    layer = 'simpleattn.attention:LadderAttention'
    a,b = Variant('a', layer, kwargs=dict(softmax=False, reduction=4)), Variant('a', layer, kwargs=dict(reduction=4, softmax=False))
    assert [*a.kwargs]!=[*b.kwargs] and a.hash==b.hash

def test_a_file_is_identified_by_its_text(tmp_path):
    p = light(tmp_path, 'class A: pass\n')
    h = Variant('a', f'{p}:A').hash
    (tmp_path/'else').mkdir()
    assert Variant('a', f"{light(tmp_path/'else', p.read_text(), 'other.py')}:A").hash==h
    p.write_text('class A: x = 1\n')
    assert Variant('a', f'{p}:A').hash!=h

def versions(tmp_path, *texts): return [Variant('a', getattr(import_file(light(tmp_path, o)), 'A')).hash for o in texts]

def test_a_class_is_identified_by_its_source(tmp_path):
    a,b,c = versions(tmp_path, 'class A:\n    def f(self): return 1\n', 'class A:\n    def f(self): return 2\n', 'class A:\n    def f(self): return 1\n')
    assert a==c!=b

def test_a_class_is_identified_by_its_base_too(tmp_path):
    a,b = versions(tmp_path, *(f'class B:\n    x = {n}\nclass A(B): pass\n' for n in (1,2)))
    assert a!=b

def test_a_class_is_identified_by_what_it_calls_too(tmp_path):
    "A helper beside the class decides what the layer does as much as the class"
    a,b = versions(tmp_path, *(f'def helper(): return {n}\nclass A:\n    def f(self): return helper()\n' for n in (1,2)))
    assert a!=b

SOURCE = """
K = 3
def gate(x): return x*K
class A:
    def __init__(self, ni, by=2.): self.by,self.f = by,lambda o: f'{o!r:>{ni}}'
    def forward(self, x): # as it comes
        return gate(x)*self.by if x is not None else [i for i in x if i]
"""

def test_the_identity_of_a_class_is_the_same_in_every_python(tmp_path):
    "The hash of one class, whatever Python, process, folder, layout or comment"
    h, = {Variant('a', import_file(light(tmp_path, o)).A).hash for o in (SOURCE, SOURCE.replace('# as it comes','').replace('K = 3','K  =  3'))}
    assert h=='94798d14c862'

@pytest.mark.parametrize('old,new', [('K = 3','K = 4'), ('x*K','x+K'), ('by=2.','by=3.'), ('if x is','if ni is'), ('!r:','!s:')])
def test_any_change_of_what_a_class_does_changes_its_identity(tmp_path, old, new):
    a,b = versions(tmp_path, SOURCE, SOURCE.replace(old, new))
    assert a!=b

def test_a_class_without_a_file_is_identified_by_its_code():
    "Such as one of a notebook whose file is hidden"
    def made(n):
        ns = dict(__name__='__main__')
        exec(f'class A:\n    def f(self): return {n}', ns)
        return Variant('a', ns['A']).hash
    assert made(1)==made(1)!=made(2)

def test_the_record_of_a_variant_is_json_and_holds_no_folder(tmp_path):
    v = Variant('a', f"{light(tmp_path, 'class A: pass')}:A", '2.-1', dict(k=[1,2]))
    d = json.loads(json.dumps(v.to_dict()))
    assert d==dict(name='a', layer='mine.py:A', site='2.-1', kwargs=dict(k=[1,2]), hash=v.hash)
    assert get_variant('baseline').to_dict()==dict(name='baseline', layer=None, site=None, kwargs={}, hash='baseline')

# ---- the user's files

def test_a_file_is_imported_once_for_each_content(tmp_path):
    p = light(tmp_path, 'x = []')
    assert import_file(p) is import_file(str(p))
    p.write_text('x = [1]')
    assert import_file(p).x==[1]

def test_a_file_that_raises_is_not_half_imported(tmp_path):
    p = light(tmp_path, 'x = 1\nraise RuntimeError("mine")')
    with pytest.raises(CliError, match='RuntimeError: mine, in its line 2'): import_file(p)
    assert not [o for o in sys.modules if o.startswith('simpleattn_user_mine_') and getattr(sys.modules[o],'__file__','')==str(p)]

@pytest.mark.parametrize('path,says', [('nowhere.py:A','nowhere.py'), ('no_such_module:A','no_such_module'), ('json:A',"no 'A'"), ('A','module:Class')])
def test_a_layer_that_is_not_there_is_explained(path, says):
    with pytest.raises(CliError, match=says): load_layer(path)

def test_a_layer_is_found_by_file_and_by_module(tmp_path):
    assert load_layer(f"{light(tmp_path, 'class A: pass')}:A").__name__=='A'
    assert load_layer('json:JSONDecoder') is json.JSONDecoder

def test_declaring_needs_no_torch(tmp_path):
    code = f'''
import sys
from simpleattn.variants import register_variant,get_variant
register_variant('mine', 'simpleattn.attention:SimpleSelfAttention', '2.-1', ks=3)
register_variant('file', '{light(tmp_path, 'class A: pass')}:A', by=3.)
print(get_variant('mine').hash, get_variant('file@1.0').hash, 'torch' in sys.modules)'''
    res = python(code)
    assert res.returncode==0 and res.stdout.split()[2]=='False', res.stderr

def test_a_file_registers_variants_at_the_command_line(tmp_path):
    p = light(tmp_path, "from simpleattn.variants import register_variant\nclass A: pass\nregister_variant('from-file', A, '2.-1', 'my own')\n")
    res = cli('variants', '--import', p, '--fmt', 'json')
    assert res.returncode==0, res.stderr
    mine = {o['variant']:o for o in json.loads(res.stdout)}['from-file']
    assert (mine['site'],mine['about'])==('2.-1','my own')

# ---- an edited variant under the next free name

class First: pass
class Second: pass

ODD_FILES = {'broken':b'{"variant": ', 'no text':b'\xff\xfe', 'nested':b'['*10**5, 'a list':b'[1]', 'no variant':b'{"seed": 1}', 'a text':b'{"variant": "x"}', 'no hash':b'{"variant": {"name": "edited"}}',
    'odd hash':b'{"variant": {"name": "edited", "hash": [1]}}', 'arms of another type':b'{"arms": 3}', 'odd arms':b'{"arms": [3, {}, {"variant": 3}, null]}', 'no arms':b'{"arms": null}'}

def held(root, text=None):
    "Where a record of a variant called `edited` stands, a declaration, and its growth"
    for name in ('demo/edited/cpu/3.json', '_studies/s.json', '_studies/s.growth/1.json'):
        file = root/name
        file.parent.mkdir(parents=True, exist_ok=True)
        if text is not None: file.write_bytes(text)
        yield file

@pytest.mark.parametrize('odd', ODD_FILES)
def test_a_free_name_is_found_beside_what_is_no_record(tmp_path, odd):
    [*held(tmp_path, ODD_FILES[odd])]
    assert register_variant('edited', First, again=tmp_path).name=='edited'

@pytest.mark.parametrize('kind', ['pipe','link','folder'])
def test_a_free_name_is_found_without_what_is_no_plain_file(tmp_path, kind):
    (tmp_path/'secret.json').write_text(json.dumps(dict(variant=dict(name='edited', hash='x'), arms=[dict(variant=dict(name='edited', hash='x'))])))
    for file in held(tmp_path): dict(pipe=lambda: os.mkfifo(file), folder=file.mkdir, link=lambda: file.symlink_to(tmp_path/'secret.json'))[kind]()
    assert register_variant('edited', First, again=tmp_path).name=='edited'

@pytest.mark.parametrize('where', range(3))
def test_a_name_that_a_record_or_a_declaration_has_is_not_free(tmp_path, where):
    file = [*held(tmp_path, b'{')][where]
    arm = dict(variant=Variant('edited', Second).to_dict())
    (file.with_name('4.json') if where==0 else file).write_text(json.dumps(arm if where==0 else dict(arms=[arm])))
    assert register_variant('edited', First, again=str(tmp_path)).name=='edited-2' and register_variant('edited', Second, again=tmp_path).name=='edited'

def test_the_lines_of_a_class_are_known_where_it_stands_in_a_file():
    @dataclasses.dataclass
    class Made: # Python writes its __init__
        ni:int
        def forward(self, x): return x
    typed = {}
    exec('class Typed:\n    def forward(self, x): return x', typed)
    assert has_source(Made) and has_source(has_source) and not has_source(typed['Typed'])

# ---- what a layer is made of, in every form

LAYER = '''import configparser,enum,functools,random,types,typing
import dataclasses as dc
import numpy as np,pandas as pd,torch
from torch import nn
{}
class Gate(nn.Module):
    def __init__(self, ni): super().__init__()
    {}
    def forward(self, x): return {}
'''
DECORATED = 'def twice(k):\n    def wrap(f):\n        @functools.wraps(f)\n        def g(*args): return {}\n        return g\n    return wrap'
OBJECTS = {
    'plain object':('class C:\n    def __init__(self, k): self.k = k\nUSED = C({})', ('1','2')),
    'its class':('class C:\n    def scale(self): return {}\nUSED = C()', ('1','2')),
    'its text says nothing':('class C:\n    def __init__(self, k): self.k = k\n    def __str__(self): return "C"\nUSED = C({})', ('1','2')),
    'slots':('class C:\n    __slots__ = ("k",)\n    def __init__(self, k): self.k = k\nUSED = C({})', ('1','2')),
    'dataclass with slots':('@dc.dataclass(slots=True)\nclass C: k:float\nUSED = C({})', ('1','2')),
    'method of a dataclass':('@dc.dataclass\nclass C:\n    k:float\n    def scale(self): return {}*self.k\nUSED = C(1)', ('1','2')),
    'bound method':('class C:\n    def __init__(self, k): self.k = k\n    def f(self, x): return self.k*x\nUSED = C({}).f', ('1','2')),
    'called object':('class C:\n    def __call__(self, x): return {}*x\nUSED = C()', ('1','2')),
    'own activation':('class A(nn.Module):\n    def forward(self, x): return {}*x\nUSED = nn.Sequential(A())', ('1','2')),
    'weights':('USED = nn.PReLU(init={})', ('.1','.9')), 'built in':('USED = torch.{}', ('relu','tanh')),
    'table':('USED = pd.DataFrame(dict(a=[*range(200)])).assign(b=lambda o: o.a*(o.a!={}))', ('100','101')),
    'config file':('USED = configparser.ConfigParser()\nUSED.read_dict(dict(a=dict(k="{}")))', ('1','2')),
    'value of an enum':('class E(enum.Enum): A = {}\nUSED = E.A', ('1','2')), 'generic':('class A: k = {}\nUSED = typing.Optional[A]', ('1','2')),
    'metaclass':('class M(type):\n    def k(cls): return {}\nclass C(metaclass=M): pass\nUSED = C', ('1','2')),
    'partialmethod':('class C:\n    def f(self, k): return k\n    g = functools.partialmethod(f, {})\nUSED = C', ('1','2')),
    'dispatch':('@functools.singledispatch\ndef USED(x): return x\n@USED.register\ndef _(x:int): return {}', ('1','2')),
    'body of a decorator':(DECORATED.replace('{}', 'f(*args)*{}')+'\n@twice(1)\ndef USED(x): return x', ('2','3')),
    'argument of a decorator':(DECORATED.replace('{}', 'f(*args)*k')+'\n@twice({})\ndef USED(x): return x', ('1','2')),
    'decorated function of torch':(DECORATED.replace('{}', 'f(*args)*k')+'\nUSED = twice({})(torch.relu)', ('1','2'))}

def hash_of(folder, text):
    folder.mkdir(exist_ok=True)
    (folder/'mine.py').write_text(text)
    return Variant('mine', f'{folder}/mine.py:Gate').hash

@pytest.mark.parametrize('kind', OBJECTS)
def test_an_edited_object_that_a_layer_uses_makes_another_layer(tmp_path, kind):
    text,(old,new) = OBJECTS[kind]
    hashes = [hash_of(tmp_path/str(i), LAYER.format(text.replace('{}', o), '', 'USED, x')+more) for i,(o,more) in enumerate(((old,''),(old,'\n# a comment\n'),(new,'')))]
    assert hashes[0]==hashes[1]!=hashes[2]

@pytest.mark.parametrize('where', ['body','argument'])
def test_an_edited_decorator_of_a_method_makes_another_layer(tmp_path, where):
    def text(k): return LAYER.format(DECORATED.replace('{}', f'f(*args)*{k if where=="body" else "k"}'), f'@twice({k if where=="argument" else 1})', 'x')
    assert hash_of(tmp_path/'a', text(1))==hash_of(tmp_path/'b', text(1))!=hash_of(tmp_path/'c', text(2))

MODULES = dict(reexported=({'mylib/__init__.py':'from .blocks import mix\n', 'mylib/blocks.py':'def mix(x): return x*{}\n'}, 'import mylib', 'mylib.mix(x)'),
    below=({'mylib/__init__.py':'', 'mylib/sub.py':'def f(x): return x*{}\n'}, 'import mylib.sub', 'mylib.sub.f(x)'),
    no_init=({'mylib/sub.py':'def f(x): return x*{}\n'}, 'import mylib.sub', 'mylib.sub.f(x)'),
    second=({'helper.py':'import helper2\ndef f(x): return helper2.g(x)\n', 'helper2.py':'def g(x): return x*{}\n'}, 'import helper', 'helper.f(x)'),
    inside=({'helper.py':'def f(x): return x*{}\n'}, 'def used(x):\n    import helper\n    return helper.f(x)', 'used(x)'),
    from_inside=({'helper.py':'def f(x): return x*{}\n'}, 'def used(x):\n    from helper import f\n    return f(x)', 'used(x)'))
@pytest.mark.parametrize('kind', MODULES)
def test_an_edited_module_of_ones_own_makes_another_layer(tmp_path, monkeypatch, kind):
    files,top,forward = MODULES[kind]
    def made(i, k):
        folder = tmp_path/str(i)
        for name,text in files.items():
            (folder/name).parent.mkdir(parents=True, exist_ok=True)
            (folder/name).write_text(text.replace('{}', k))
        for name in [o for o in sys.modules if o.split('.')[0] in ('mylib','helper','helper2') or o.startswith('simpleattn_user_mine')]: del sys.modules[name]
        with monkeypatch.context() as m:
            m.syspath_prepend(str(folder))
            return hash_of(folder, LAYER.format(top, '', forward))
    assert made(0, '1')==made(1, '1')!=made(2, '2')

def test_a_package_that_is_installed_in_place_is_its_source(tmp_path, monkeypatch):
    "As pip install -e leaves it: with a version, and its files elsewhere"
    info = tmp_path/'mypkg-0.1.dist-info'
    info.mkdir()
    (info/'METADATA').write_text('Metadata-Version: 2.1\nName: mypkg\nVersion: 0.1\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    def made(k):
        for name in [o for o in sys.modules if o.split('.')[0]=='mypkg']: del sys.modules[name]
        (tmp_path/'mypkg').mkdir(exist_ok=True)
        (tmp_path/'mypkg'/'__init__.py').write_text('')
        (tmp_path/'mypkg'/'layers.py').write_text(LAYER.format('', '', f'{k}*x'))
        import importlib
        importlib.invalidate_caches()
        shutil.rmtree(tmp_path/'mypkg'/'__pycache__', ignore_errors=True)
        return Variant('mine', 'mypkg.layers:Gate').hash
    one = made(1)
    assert one==made(1)!=made(22)

def test_an_attribute_is_no_global(tmp_path):
    text = LAYER.format('', '', 'x.mean()*self.scale')
    assert hash_of(tmp_path/'a', text)==hash_of(tmp_path/'b', 'scale = 3\nmean = [1, 2]\n'+text)

@pytest.mark.parametrize('name', ['mine.py:L','mine.py:nn','math:pi'])
def test_a_layer_that_is_no_class_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'mine.py').write_text('from functools import partial\nfrom torch import nn\nL = partial(nn.Conv2d, kernel_size=1)\n')
    with pytest.raises(CliError, match='Give a class, or a function that makes one'): Variant('mine', name).build()

@pytest.mark.parametrize('value', ['torch.eye(3).to_sparse()','torch.empty(2, device="meta")','torch.quantize_per_tensor(torch.ones(2), .1, 0, torch.qint8)','nn.parameter.UninitializedParameter()'])
def test_any_tensor_may_stand_beside_a_layer(tmp_path, value): assert len(hash_of(tmp_path/'a', LAYER.format(f'USED = {value}', '', 'USED, x')))==12

STABLE = {'generator of Python':'from random import random as USED', 'of numpy':'from numpy.random import randn as USED', 'one of its own':'USED = np.random.default_rng()',
    'logger':'import logging\nUSED = logging.getLogger(__name__)', 'environment':'from os import environ as USED', 'weak keys':'import weakref\nUSED = weakref.WeakKeyDictionary()',
    'drawn weights':'USED = nn.Linear(3, 3)', 'lock':'import threading\nUSED = threading.Lock()', 'set in an object':'class C:\n    def __init__(self): self.names = {"a","b","c","d","e"}\nUSED = C()'}
def test_the_hash_is_the_same_in_every_process_and_after_use(tmp_path):
    "Whatever is drawn, counted or kept on the way"
    for name,text in STABLE.items():
        (tmp_path/f'{name.replace(" ", "_")}.py').write_text(LAYER.format(text, '', 'USED, x'))
        (tmp_path/f'{name.replace(" ", "_")}_too.py').write_text('# a comment\n'+LAYER.format(text, '', 'USED, x'))
    code = """
import random,sys
import numpy as np
from pathlib import Path
from simpleattn.variants import Variant,load_layer
for p in sorted(Path(sys.argv[1]).glob('*.py')):
    one = Variant('mine', f'{p}:Gate').hash
    random.random(); np.random.rand()
    used = sys.modules[load_layer(f'{p}:Gate').__module__].USED
    if hasattr(used, 'eval'): used.eval()
    if hasattr(used, 'integers'): used.integers(3)
    assert Variant('mine', f'{p}:Gate').hash==one, p
    print(p.stem.removesuffix('_too'), one)
"""
    said = [python(code, tmp_path, env=dict(PYTHONHASHSEED=str(i), SEEN=str(i))) for i in (1,2)]
    assert said[0].returncode==0, said[0].stderr
    assert said[0].stdout==said[1].stdout and len({*said[0].stdout.splitlines()})==len(STABLE), said[0].stdout

def test_the_hash_does_not_depend_on_what_else_was_imported(tmp_path, monkeypatch):
    for name,text in {'mypack/__init__.py':'from .used import f\n', 'mypack/used.py':'def f(x): return x\n', 'mypack/other.py':'K = 1\n'}.items():
        (tmp_path/name).parent.mkdir(exist_ok=True)
        (tmp_path/name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    text = LAYER.format('import mypack', '', 'mypack.f(x)')
    one = hash_of(tmp_path/'a', text)
    __import__('mypack.other')
    assert hash_of(tmp_path/'a', text)==one

def test_a_module_that_a_method_takes_from_a_package_is_a_part(tmp_path, monkeypatch):
    def made(i, k):
        folder = tmp_path/str(i)
        (folder/'mypack2').mkdir(parents=True)
        (folder/'mypack2'/'__init__.py').write_text('')
        (folder/'mypack2'/'util.py').write_text(f'K = {k}\n')
        for name in [o for o in sys.modules if o.split('.')[0]=='mypack2' or o.startswith('simpleattn_user_mine')]: del sys.modules[name]
        with monkeypatch.context() as m:
            m.syspath_prepend(str(folder))
            return hash_of(folder, LAYER.format('def used(x):\n    from mypack2 import util\n    return util.K*x', '', 'used(x)'))
    assert made(0, 1)==made(1, 1)!=made(2, 2)

class InASet:
    "Two of them share a config, and stand in a set in the order of their hashes"
    shared = {}
    def __init__(self, name): self.name,self.config = name,InASet.shared
    def __hash__(self): return int(os.environ['IN_A_SET']) ^ ('a','b').index(self.name)

def test_the_order_in_a_set_is_none(monkeypatch):
    from simpleattn.variants import identity
    class Config: pass
    InASet.shared = Config()
    orders,said = [],[]
    for flip in '01':
        monkeypatch.setenv('IN_A_SET', flip)
        both = {InASet('a'),InASet('b')}
        orders.append([o.name for o in both])
        said.append(identity(both))
    assert orders[0]!=orders[1] and said[0]==said[1]
