"The list of seeded faults fits the library, and its runner tells what is caught from what is not"
import json
from dataclasses import replace
import pytest
from conftest import ROOT
import faults

pytestmark = pytest.mark.slow
EVERY = {f.name:f for f in faults.faults()}
CHEAP = ('import','import-by-code','verdict-side','holm-order','checksum','site-hash') # none of them imports torch

@pytest.fixture(scope='module')
def house(tmp_path_factory):
    p = tmp_path_factory.mktemp('faults')/'house'
    p.mkdir()
    faults.build(p)
    return p

@pytest.mark.parametrize('name', EVERY)
def test_a_fault_fits_the_library_and_tests_that_are_there(name):
    f = EVERY[name]
    faults.seeded(f, (ROOT/'simpleattn'/f'{f.module}.py').read_text())
    for o in f.tests:
        file,_,test = o.partition('::')
        assert f"def {test.partition('[')[0]}(" in (ROOT/'tests'/file).read_text(), o

def test_every_part_has_its_faults():
    parts = 'stats study runs recipes variants plan folders data train attention local bottleneck models report board plots cli results rows files questions'
    assert {f.module for f in EVERY.values()}>={*parts.split()}

@pytest.mark.parametrize('modules,n', [('results folders',20), ('files runs',20), ('stats plan rows questions',50)])
def test_readers_stores_and_statistics_have_many(modules, n): assert sum(f.module in modules.split() for f in EVERY.values())>=n

def test_what_the_old_library_let_pass_has_a_test_now():
    "tests/faults_before.json: who noticed in the library before it was rewritten, and for the others the test that was added"
    before = json.loads((ROOT/'tests'/'faults_before.json').read_text())
    now = {name:faults.REPLACED.get(name, name) for name in before}
    assert {*now.values()}<=EVERY.keys()
    for name,o in before.items(): assert o['caught'] or o['added'].partition('[')[0] in EVERY[now[name]].tests, name

@pytest.mark.parametrize('name', CHEAP)
def test_a_cheap_fault_is_caught(house, name):
    o = faults.judge(EVERY[name], house)
    assert o['caught'] and o['by'].split('::')[0]==EVERY[name].tests[0].split('::')[0]

def test_their_tests_pass_without_them(house): assert faults.sound([EVERY[o] for o in CHEAP if not o.startswith('import')], house)

def test_what_no_test_notices_is_told(house, capsys):
    silent = replace(EVERY['holm-order'], name='silent', tests=EVERY['wilson'].tests)
    assert faults.run([silent], house=house)==1
    out = capsys.readouterr().out
    assert 'NOT caught' in out and '0 of 1 faults caught' in out and 'silent' in out.splitlines()[-1]

@pytest.mark.parametrize('change,says', [(dict(before='no such text'),'0 times'), (dict(before='alpha'),'times, not once'), (dict(after='def'),''),
    (dict(tests=('test_stats.py::test_no_such_test',)),'status 4'), (dict(after='k(: j'),'')], ids=str)
def test_a_change_that_proves_nothing_is_an_error(house, capsys, change, says):
    assert faults.run([replace(EVERY['holm-order'], **change)], house=house)==1
    out = capsys.readouterr().out
    assert out.startswith('ERROR') and says in out

def test_the_command_lists_and_refuses(capsys):
    assert faults.main(['holm-order','--list'])==0 and 'Holm begins' in capsys.readouterr().out
    with pytest.raises(SystemExit) as e: faults.main(['holm-oder'])
    assert e.value.code==2
