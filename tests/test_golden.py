"""What the library says and computes is what it said at c1d5ce0: numbers to 1e-12, words to the letter, hashes, bits of trainings"""
import importlib.util,json,math,os,re,shutil,sys
from fnmatch import fnmatchcase
from pathlib import Path
import pytest

HERE = Path(__file__).resolve().parent/'golden'
spec = importlib.util.spec_from_file_location('golden_make', HERE/'make.py')
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)

# Pattern of a path (as a message names it) -> why what stands there is deliberately another now
CHANGED = {
    'plans/cli woof-128-5-v1_precision-float32_compile-true *':'names of derived recipes are not read back: a record holds its recipe in full',
    'recipes/bad/3/message':'callbacks are a key of a recipe, and the message lists all keys',
    'recipes/bad/1/message':'two optimisers more can be meant',
    **{f'settings/*-{o}-v1':'the published form of the optimiser, in recipes that have no runs' for o in ('ralamb','over9000','novograd')},
    'recipes/wrong/1/message':'a derived name is not read back, so its value is not either',
    'recipes/wrong/2/message':'no two blanks where no name is near',
    'statistics/40 compare_many/unpaired/to_dict/comparisons/1/hedges_g':'its last digit is that of the arm before now, and what is alike is not listed',
    **{f'statistics/* diff_of_diffs/*{o}':'a contrast of four arms in compare_many is the one way to say it, and names each gain by its arms'
        for o in ('/arm','/baseline','/sentence','/about','/repr','/html')},
    **{f'leaderboard/{o}/out':"a pick has its interval over all arms that it was picked from, and the bias by selection is named" for o in ('table','md','latex')},
    'leaderboard/*over_k*':'the interval of a pick over all arms is among its facts',
    'variants/sites/*name':'a variant at a site is named as it is asked for: simple@2.-1',
    'variants/cli*':'the same',
    'variants/bad/*/message':'a file that is imported has to name its layers, and the message says so',
    'own_layers/dataclass/*':'an object that a layer uses is its class too, whose methods may be edited',
    'own_layers/decorated/*':'a decorator of yours is a part of what it wraps',
    'own_layers/bad/0/message':'a name of a variant may hold @ and +, and the message says so',
    'helps/3.11/data/out':'a folder or archive is enough, and a folder of classes can be split',
    'records/cli/verify/out':'declarations and states of races are checked too, and a second line says so',
    'helps/3.11/study/out':'the tuner of runs at once and one run over several GPUs are gone',
    'statistics/* csv_two_datasets/*':'a column that keeps runs apart is refused by name, with the commands that go on',
    'statistics/* csv_counts_with_n_images/*':'counts of correct are read by their column n_images',
    'helps/3.11/compare/out':'any file of results, with the options to read it',
    'helps/3.11/race/out':'looks are gone; address, checkpoints and fractions of a GPU are there again',
    # One interval, one verdict: tables, sentences and columns say the rule; the numbers that both rules have are held by `by_one_interval`
    **{k:'a table, page or sentence of the one interval' for k in ('compare_*/*/out','compare_*/*/out/method','compare_*/*/out/sequential','*/to_dict/method','*/to_dict/sequential','*/sentence','*/about',
        '*/repr','*/html','*/md','*/interval','*/interval/*','*/intervals*','*/summaries*','*/sentences*','*/about/*','*/columns','*/headline','*/report.csv',
        '*/verdict_words','*/out/sequential','*/comparisons/method','*/comparisons/sequential','*/method','*/sequential')},
    **{k:'an interval at the error rate that was asked for' for k in ('*woof-delta/*/divergence_upper','*/rates/to_dict/*divergence_upper')},
    **{k:'equivalence is read off the interval at alpha, which is two one-sided tests at half of it; what growing costs is there' for k in ('plans/*equivalence*','plans/*grown*','plans/*said','plans/*words','plans/*out','statistics/* plan_full/*')},
    **{k:'the sd is that of pairs with the baseline, three or more: the median over arms' for k in ('plans/* {}/*','plans/* {"runs": *"variants": *}/*')},
    **{k:'all differences equal: a table that says so' for k in ('mistakes/copies/*','mistakes/same/*')},
    **{k:'the words of the one interval; a margin of races' for k in ('reports/*/index.html','reports/*/report.md','reports/*/report.tex','reports/*/race','reports/*/race/*','races/*','old_store/*/race_states*')},
    **{k:'the help of compare and plan says so' for k in ('helps/*/all/out','helps/*/compare/out','helps/*/none/out','helps/*/option/err','helps/*/plan/out')},
    **{k:'the sd is that of pairs with the baseline' for k in ('plans/cli * json/out/*','plans/* {"runs": 1}','plans/* {"corr": *}/*')},
    **{o:'two gains that share an arm share its runs: they are compared seed by seed' for o in ('compare_more/woof-contrasts/json/out/comparisons/4/*','compare_more/asked/json/out/comparisons/4/*',
        'comparisons/woof-contrasts/to_dict/comparisons/4/*','comparisons/woof-contrasts/detectable/4',*(f'statistics/{k} compare_many/{how}/to_dict/comparisons/{i}/*' for k,contrast in ((35,4),(36,7),(37,8),(38,4),(39,9),(40,9),(41,9),(42,5),(43,6),(44,6),(45,9),(46,4),(47,4),(48,10),(49,8)) for how,i in (('contrasts',contrast),('only',2))))},
    'statistics/* diverged/unpaired/*p_worst_rank':'exact in small samples, also where diverged runs tie',
    'statistics/*/maxt':'max-T is gone', 'statistics/* compare_summary/cli/out':'the table of the one interval',
    **{k:'the table of the one interval' for k in ('statistics/* csv_two_datasets/*/out','old_store/*/compare/*/out','old_store/*/report.md')},
    'statistics/* decompose_tie/decompose/df_new_images':'the images add nothing where mean squares tie',
    'statistics/* new_images_tiny/*df*':'no fewer degrees of freedom than the seeds have',
    'statistics/* mixed_units/*':'counts of 400 in both arms', 'statistics/* compare/sequential/*':'two shared seeds are shared seeds',
    **{k:'no other tests to choose from: the sign-flip p in --full is the sensitivity' for k in ('*--sensitivity','*--sensitivity/*','statistics/*/sensitivity','statistics/*/extra','*/to_dict/sensitivity')},
    'trained/recipe {"split": "tune"}*':'a split without a validation image has no accuracy: refused, where it was called diverged',
    'records/cli/some/err':'an error is one line', 'recipes/odd/err':'the option is named',
    'functions/maxt':'max-T is gone', **{k:'races end where the one interval says, also with runs that diverged' for k in ('functions/race_seeds','statistics/* race_state/*/verdict','statistics/* race_state/*/decided_at',
        'statistics/* race_state/path/*','statistics/* race_state/lost/*','statistics/* race_state/seeds/*','statistics/* race_state/narrow','statistics/*/race v*')},
    **{f'*/{fmt}{o}/err':'what a table has no place for, its notes, are said on standard error' for fmt in ('csv','md','latex') for o in ('',' --full')},
    'helps/3.11/train/out':'callbacks are taken by --cbs',
    **{k:'a record that is not believed is named, and a report says what is missing' for k in ('reports/demo-missing/cli/err','old_store/own/compare/json/err','old_store/own/report/err')},
    'reports/*/svgs':'an undecided study has a power curve',
    '*/report.json/forms':'a report keeps a hash of each of its forms, so that one that was damaged is written again',
    'helps/3.11/odd/err':'the verb control', 'leaderboard/pr */err':'does not qualify, in plain words',
    **{f'helps/*/{o}/out':'two examples at the end, no default where it is nothing, and names or patterns of recipes and variants' for o in ('demo','recipes','variants','cost','report','leaderboard','runs')},
    **{k:'the same in more usual words' for k in ('records/cli/odd/message','recipes/wrong/0/message','compare_more/unknown/err',
        *(f'compare_more/{o}/json/err' for o in ('gate *','* gate','demo-sasa-botnet *','* demo-sasa-botnet','demo demo','woof-cpu woof-cpu','woof-delta woof-delta')),
        'plans/* {"sd": 0.0}', *(f'mistakes/{o}/message' for o in ('seeds','unknown','arm','sd','twice')))},
}

_number = re.compile(r'-?\d+\.\d+(?:e[-+]?\d+)?|-?\d+e-\d+')

_version = re.compile(r'^simpleattn \d+\.\d+\.\d+$', re.M) # at the end of every help

def close(a, b, tol=1e-12): return a==b or math.isclose(a, b, rel_tol=tol, abs_tol=tol)

def same_number(a, b):
    "The same to the letter, or to 1e-12 where one of them has all its digits"
    return a==b or max(len(a), len(b))>10 and close(float(a), float(b))

def same_text(a, b):
    "The same to the letter, apart from the last digits of long numbers"
    a,b = (_version.sub('', o) for o in (a, b))
    return a==b or _number.split(a)==_number.split(b) and all(map(same_number, _number.findall(a), _number.findall(b)))

SAME = '''arm baseline n n_baseline n_variant mean_baseline mean_variant sd_baseline sd_variant diff sd_diff se t df p delta alpha family
    goal paired sequential corr n_shared d_z hedges_g p_improve p_improve_low p_improve_high p_improve_unpaired p_improve_unpaired_low
    p_improve_unpaired_high t_student p_student low_student high_student p_signflip p_signflip_note tost_p p_noninferior n_images new_se
    new_df var_seed var_churn diverged_baseline diverged_variant failed_baseline failed_variant n_all_baseline n_all_variant
    divergence_upper p_worst_rank worst_rank_sign p_divergence low high recipe'''.split()

STATE = ('n','mean','sd','low','high','e','p','delta','alpha')

def by_one_interval(old, new):
    "What two results say of a comparison by both rules: the new one shows the simultaneous interval of the old; a race ends elsewhere"
    if old.get('sequential') or 'every difference is the same' in (old.get('verdict_words') or ''): return {}, {}
    old = dict(old, **{k:old[f'{k}_sim'] for k in ('low','high') if old.get(f'{k}_sim') is not None})
    whole = 'family' in old # else only what differs from the comparison above it
    return tuple({k:o[k] for k in SAME if k in o and (whole or k not in ('low','high'))} for o in (old, new))

def differences(old, new, at=''):
    "Paths at which two results differ, each with both values"
    if isinstance(old, dict) and isinstance(new, dict):
        if 'low_eq' in old: old,new = ({k:o[k] for k in STATE} for o in (old, new)) # of a race: equivalence has no interval of its own now, so its end may be another
        if re.search(r'/(to_dict|out|comparisons/\d+)$', at) and 'comparisons' not in old: old,new = by_one_interval(old, new)
        for k in [*old, *(k for k in new if k not in old)]:
            if k not in new: yield f'{at}/{k}', 'there', 'gone'
            elif k not in old: yield f'{at}/{k}', 'not there', new[k]
            else: yield from differences(old[k], new[k], f'{at}/{k}')
        if list(old)!=list(new) and {*old}=={*new}: yield f'{at} (order of keys)', list(old), list(new)
    elif isinstance(old, list) and isinstance(new, list) and len(old)==len(new):
        for i,(a,b) in enumerate(zip(old, new)): yield from differences(a, b, f'{at}/{i}')
    elif isinstance(old, str) and isinstance(new, str):
        if not same_text(old, new): yield (at, *around(old, new))
    elif type(old) is not type(new) or not (close(old, new) if isinstance(old, float) else old==new): yield at, old, new

def around(a, b, n=60):
    "Both texts from a little before the place where they part"
    i = len(os.path.commonprefix([a, b]))
    return tuple(('...' if i>n else '')+o[max(0, i-n):i+2*n] for o in (a, b))

def unchanged(old, new, name):
    "Fail with the first differences that nobody has declared"
    found = [o for o in differences(old, new, name) if not any(fnmatchcase(o[0], k) for k in CHANGED)]
    if not found: return
    said = '\n'.join(f'{p}\n    was {str(a)[:400]!r}\n    is  {str(b)[:400]!r}' for p,a,b in found[:8])
    pytest.fail(f'{len(found)} differences from c1d5ce0, of which the first are\n{said}', pytrace=False)

@pytest.fixture(scope='module')
def golden(): return make.read('golden.json.xz')

@pytest.fixture(scope='module')
def store(tmp_path_factory):
    "The records of the committed store that were there at c1d5ce0"
    tmp = tmp_path_factory.mktemp('golden')
    make.copy_store(tmp/'runs', make.old_store()['records'])
    return tmp

VERSIONED = ('gate','helps') # by the version of torch, and of Python

@pytest.mark.parametrize('name', make.SECTIONS)
def test_a_part_is_as_it_was(name, golden, store):
    old,new = golden[name],make.part(name, store)
    if name in VERSIONED:
        if not (both := old.keys() & new.keys()): pytest.skip(f'made with {", ".join(old)}, and here is {", ".join(new)}')
        old,new = ({k:d[k] for k in both} for d in (old, new))
    unchanged(old, new, name)

def test_nothing_is_compared_twice_or_not_at_all(golden): assert list(golden)==list(make.SECTIONS)

# ---- a store that c1d5ce0 wrote

def test_an_old_store_is_read_as_it_was(tmp_path):
    "Sites, derived recipes, a layer whose source is gone, two GPUs, failed tries, diverged runs, older records, a race; a capped race stays readable"
    root = tmp_path/'runs'
    shutil.copytree(HERE/'old_store', root)
    old = make.read('old_store.json.xz')
    unchanged(old, make.of_old_store(root, old), 'old_store')

def test_a_capped_race_of_old_stays_readable(tmp_path):
    "Its records are there, and it has an answer"
    root = tmp_path/'runs'
    shutil.copytree(HERE/'old_store', root)
    s = make.public('load_study')('capped', root)
    assert len(s.runs())==24
    cs = s.compare()
    assert len(cs)==1 and all(c.sentence() for c in cs)
    said = 'it is read by the rule that is valid after every seed'
    assert any(said in o for o in make.public('make_report')(s).warnings)
    assert make.cli('report', 'capped', '--root', root, '--out', tmp_path/'out')['code']==0

# ---- trainings

@pytest.fixture(scope='module')
def trained(): return json.loads((HERE/'trained.json').read_text())

@pytest.mark.slow
def test_a_training_has_the_bits_it_had(trained, tmp_path):
    """Two steps of every variant and every optimiser, an epoch of the demo: to the bit.
    On a machine that is not known, the code of c1d5ce0 trains again; without the history, losses are nearly the same"""
    here,new = make.machine(),make.trained()
    if old := trained['machines'].get(here) or make.trained_of_old(tmp_path): unchanged(old, new, 'trained'); return
    declared = [k.removeprefix('trained/').rstrip('*') for k in CHANGED if k.startswith('trained/')]
    old = {k:d for k,d in next(iter(trained['machines'].values())).items() if k not in declared}
    far = [(k,a,b) for k,d in old.items() for a,b in zip(d.get('losses', ()), new[k].get('losses', ())) if not close(float.fromhex(a), float.fromhex(b), 1e-4)]
    assert {k:len(d.get('losses', ())) for k,d in old.items()}=={k:len(new[k].get('losses', ())) for k in old}
    assert not far, f'losses on {here} differ from those of {next(iter(trained["machines"]))}: {far[:5]}'

@pytest.mark.slow
def test_the_code_of_c1d5ce0_still_trains_here(trained, tmp_path):
    "Which a machine that is not known needs; where the bits are known, it gives them"
    only = ['variant simple','recipe {"opt": "adam"}']
    if (new := make.trained_of_old(tmp_path, only)) is None: pytest.skip('the history of this clone lacks c1d5ce0')
    assert list(new)==only and all(d['losses'] for d in new.values())
    if old := trained['machines'].get(make.machine()): unchanged({k:old[k] for k in only}, new, 'trained')

@pytest.mark.slow
def test_what_a_variant_costs_stays(trained): unchanged(trained['costs'], make.costs(), 'costs')

# ---- the comparison itself

def test_a_difference_is_named_by_its_path():
    old = dict(a=[1., dict(b='x = 0.123456789012345', c=2)], d=None)
    assert not [*differences(old, dict(a=[1.+1e-13, dict(b='x = 0.123456789012346', c=2)], d=None))]
    new = dict(a=[1.+1e-9, dict(b='x = 0.123456799012345', c=2.)], e=0)
    assert [o[0] for o in differences(old, new)]==['/a/0','/a/1/b','/a/1/c','/d','/e']
    assert [o[0] for o in differences(dict(a=1, b=2), dict(b=2, a=1))]==[' (order of keys)']
    assert around('x'*100+'one', 'x'*100+'two', 3)==('...xxxone','...xxxtwo')
