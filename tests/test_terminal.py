"""What a user sees in a terminal: tables and sentences that fit, one row of progress, colour for answers alone; into a file nothing of it"""
import io,os,re,shlex,shutil,subprocess,sys
import pytest
from conftest import ROOT,SIMPLEATTN,run_process
from simpleattn import cli
from simpleattn.study import Progress
from simpleattn.words import screen_width,tell,text_table,wrapped

pty = pytest.importorskip('pty')

def in_terminal(*words, columns=80, **env):
    "What the command writes to a terminal, and its exit status"
    import fcntl,struct,termios
    pid,screen = pty.fork()
    if not pid:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 50, columns, 0, 0))
        kept = {k:v for k,v in os.environ.items() if k not in ('COLUMNS','LINES','NO_COLOR','TERM')}
        path = os.pathsep.join([str(ROOT), kept.get('PYTHONPATH', '')])
        os.execve(sys.executable, [sys.executable, '-m', 'simpleattn', *map(str, words)], kept | dict(TERM='xterm', PYTHONPATH=path) | env)
    said = b''
    try:
        while more := os.read(screen, 65536): said += more
    except OSError: pass # its end
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode().replace('\r\n', '\n')

def plain(text): return re.sub(r'\033\[\d*[mK]', '', text)

SHOWN = ['--help', 'recipes', 'recipes demo', "recipes 'woof-cpu*'", 'variants', 'variants botnet', 'compare woof-cpu', 'compare demo-sasa-botnet', 'compare demo --full',
    'compare woof-cpu --best', 'leaderboard', 'runs', 'plan demo', 'compare --help', 'compare nothing', 'compare --summary 84.98,0.782,20 85.67,0.937,20']

@pytest.fixture
def there(tmp_path, monkeypatch):
    shutil.copytree(ROOT/'runs', tmp_path/'runs')
    monkeypatch.chdir(tmp_path)

@pytest.mark.parametrize('command', SHOWN)
def test_lines_fit_a_terminal(there, command):
    code,said = in_terminal(*shlex.split(command))
    long = [o for o in plain(said).split('\n') if len(o)>80 and not o.startswith('  simpleattn ')] # a command to paste is never broken
    assert said and long==[], long

def test_a_wide_terminal_has_a_row_on_a_line(there):
    code,said = in_terminal('compare', 'woof-cpu', columns=220)
    assert re.search(r'^self +20 +-0\.06 \(-0\.55 to \+0\.43\) +equivalent: nothing beyond 0\.55 pp', plain(said), re.M)

def test_colour_is_for_answers_in_a_terminal_alone(there):
    code,said = in_terminal('compare', 'demo-sasa-botnet')
    painted = re.findall(r'\033\[(\d+)m(.*?)\033\[0m', said)
    assert {o.strip().split()[0] for _,o in painted} <= {'worse,','by','than','1','pp','undecided','more'} and {'31','33'}=={o for o,_ in painted}
    for env in (dict(NO_COLOR='1'), dict(TERM='dumb')): assert '\033' not in in_terminal('compare', 'demo-sasa-botnet', **env)[1]
    res = run_process(SIMPLEATTN, 'compare', 'demo-sasa-botnet')
    assert res.returncode==0 and not re.search('[\033\r]', res.stdout+res.stderr) and res.stdout.split('\n')[1].startswith('sasa    5 ')

def test_machine_formats_are_never_broken(there):
    for fmt in ('csv','json','md','latex'):
        whole = run_process(SIMPLEATTN, 'compare', 'woof-cpu', '--fmt', fmt).stdout
        assert in_terminal('compare', 'woof-cpu', '--fmt', fmt)[1].strip()==whole.strip(), fmt

class Screen(io.StringIO):
    def isatty(self): return True

def test_progress_is_one_row_and_into_a_file_one_line_a_run(monkeypatch):
    monkeypatch.setattr(shutil, 'get_terminal_size', lambda *a: os.terminal_size((80,24)))
    what = 'a-variant-with-a-long-name@2.-1 seed 1234: ok 71.5%'
    screen,file = Screen(),io.StringIO()
    for out in (screen,file):
        bar = Progress(400, out)
        for bar.done in (1,2,3): bar.update(what)
        bar.close()
    rows = screen.getvalue().removesuffix('\n').split('\r\033[K')[1:]
    assert len(rows)==3 and all(len(o)<80 and '\n' not in o and '/400 runs' in o and o.endswith(what) for o in rows)
    lines = file.getvalue().rstrip('\n').split('\n')
    assert len(lines)==3 and '\r' not in file.getvalue() and all(o.endswith(what) for o in lines)

@pytest.mark.parametrize('width', [72,80,83,100])
def test_the_time_left_stays_beside_the_run_that_has_ended(monkeypatch, width):
    monkeypatch.setattr(shutil, 'get_terminal_size', lambda *a: os.terminal_size((width,24)))
    screen = Screen()
    bar = Progress(40, screen)
    bar.done = 3
    bar.update('demo/baseline seed 3: ok 71.5%')
    assert '3/40 runs, 0 failed' in screen.getvalue() and ' left  demo/baseline seed 3: ok 71.5%' in screen.getvalue() and len(screen.getvalue())<width+4

def test_nobody_is_told_where_no_stream_is(monkeypatch):
    for name in ('stdout','stderr'): monkeypatch.setattr(sys, name, None)
    tell('something')

def test_what_is_told_fits_the_terminal(monkeypatch):
    monkeypatch.setattr(shutil, 'get_terminal_size', lambda *a: os.terminal_size((60,24)))
    said = 'Pairs of control-first were there to be seen before it was declared, and so it is judged by a wider interval: simpleattn compare control-first'
    screen,file = Screen(),io.StringIO()
    for out in (screen,file): tell(said, file=out)
    assert all(len(o)<=60 for o in screen.getvalue().split('\n')) and '\n  simpleattn compare control-first\n' in screen.getvalue()
    assert file.getvalue()==said+'\n'

def test_a_table_finds_its_place(monkeypatch):
    monkeypatch.setattr('simpleattn.words.screen_width', lambda file=None: 60)
    head,rows = ['arm','answer','next'], [['simple@2.-1','undecided','85 to 202 fresh seeds (better), 110 to 263 (equivalent)'],['self','better','']]
    text = plain(text_table(head, rows))
    assert all(len(o)<=60 for o in text.split('\n')) and text.count('\n')==3 and ' '.join(text.split()).count('undecided')==1
    wide = [f'column-number-{k}' for k in range(9)]
    assert text_table(wide, [['x'*20]*9]*2).split('\n')[0].split()==['column-number-0','x'*20,'x'*20], 'few rows are turned'
    many = text_table(wide, [['x'*20]*9]*20)
    assert many.split('\n')[0].split()==wide[:2] and 'No room for column-number-2' in many and 'column-number-8' in ' '.join(many.split())

def test_no_width_changes_nothing():
    text = 'a '*100+'\n    '+'b '*100
    assert wrapped(text, 0)==text and screen_width(io.StringIO())==0
    *said,code = wrapped(text, 50).split('\n')
    assert max(map(len, said))<=50 and code=='    '+'b '*100, 'what is indented is to be pasted'
    command = 'simpleattn study demo --variants baseline,simple --name demo-simple-confirm'
    assert wrapped(f'To confirm it on reserved seeds: {command}', 50)==f'To confirm it on reserved seeds:\n  {command}'
    assert 'from -0.55 to +0.43 pp' not in wrapped('x '*16+'from -0.55 to +0.43 pp', 50) and '-0.55 to +0.43 pp' in wrapped('x '*16+'from -0.55 to +0.43 pp', 50)

# ---- help, names, completion

def test_each_help_has_two_examples_and_they_are_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ('mine.py','mine.csv'): (tmp_path/name).touch()
    (tmp_path/'pics').mkdir(); (tmp_path/'imagewoof2-160.tgz').touch()
    for verb,f in cli.verbs.items():
        with pytest.raises(SystemExit): cli.main([verb, '--help'])
        shown = re.findall(rf'^  (simpleattn {verb}.*)$', capsys.readouterr().out.split('examples:')[1], re.M)
        assert len(shown)==2, verb
        for command in shown:
            _,_,*words = shlex.split(command.replace('~', str(tmp_path)))
            cli.read_arguments(f, f'simpleattn {verb}', words)

def test_one_name_shows_all_of_it_and_a_pattern_some(capsys):
    def out(*words):
        capsys.readouterr()
        assert cli.main([*words])==0
        return capsys.readouterr().out
    keys = {o.split()[0] for o in out('recipes', 'woof-cpu').split('\n')[1:] if o}
    assert {'dataset','lr','sched','hash','stem'} <= keys and re.search(r'^lr +0\.008 +0\.003$', out('recipes', 'woof-cpu'), re.M)
    names = [o.split()[0] for o in out('recipes', 'woof-c*', 'nette-cpu').split('\n')[1:] if o]
    assert names==['woof-cpu','nette-cpu']
    assert re.search(r'^layer +simpleattn\.bottleneck:MHSA2d$', out('variants', 'botnet'), re.M) and 'simple@2.-1' in out('variants', 'simple@2.-1')
    for words in (['recipes','woof-cpx'], ['recipes','wolf*'], ['variants','simpel'], ['recipes','woof-cpu','wolf*']):
        capsys.readouterr()
        assert cli.main(words)==2 and words[-1] in capsys.readouterr().err

def test_plan_counts_variants_by_number_or_by_name(capsys):
    def said(n):
        assert cli.main(['plan', 'demo', '--sd', '0.01', '--variants', n])==0
        return capsys.readouterr().out
    assert said('2')==said('self,simple')==said('baseline,self,simple')!=said('1')
    for wrong in ('0','a,','1.5','-3'): assert cli.main(['plan', 'demo', '--sd', '0.01', '--variants', wrong])==2, wrong

@pytest.mark.skipif(not shutil.which('bash'), reason='no bash here')
def test_the_script_completes_in_bash(tmp_path):
    script = tmp_path/'complete.sh'
    script.write_text(cli.completion('bash'))
    bin = tmp_path/'bin'; bin.mkdir()
    (bin/'simpleattn').write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m simpleattn "$@"\n')
    (bin/'simpleattn').chmod(0o755)
    (tmp_path/'runs'/'_studies').mkdir(parents=True); (tmp_path/'runs'/'_studies'/'mine.json').touch()
    def complete(*words):
        line = f'source {script}; COMP_WORDS=({shlex.join(["simpleattn", *words])}); COMP_CWORD={len(words)}; _simpleattn; echo "${{COMPREPLY[@]}}"'
        env = os.environ | dict(PATH=f'{bin}:{os.environ["PATH"]}', PYTHONPATH=str(ROOT))
        res = subprocess.run(['bash', '-c', line], capture_output=True, text=True, cwd=tmp_path, env=env)
        assert res.returncode==0 and res.stderr=='', res.stderr
        return res.stdout.split()
    assert complete('lead')==['leaderboard'] and '--checkpoints' in complete('race', 'demo', '--c')
    assert complete('recipes', 'woof-c')==['woof-cpu'] and complete('compare', 'mi')==['mine'] and complete('variants', 'botn')[0]=='botnet'
    assert cli.main(['--completion', 'fish'])==2

@pytest.mark.skipif(not shutil.which('zsh'), reason='no zsh here')
def test_the_script_is_read_by_zsh(tmp_path):
    (tmp_path/'complete.sh').write_text(cli.completion('zsh'))
    res = subprocess.run(['zsh', '-f', '-c', f'source {tmp_path}/complete.sh; print ${{_comps[simpleattn]}}'], capture_output=True, text=True)
    assert res.returncode==0 and 'bash_complete' in res.stdout, res.stderr

# ---- the demo

def test_the_demo_ends_with_commands_that_work_on_what_it_made(there, monkeypatch, capsys):
    "From the committed runs, so that nothing is trained"
    from simpleattn.study import load_study
    said = cli.demo_text(load_study('first', 'runs'))
    assert re.search(r'^twice-epochs  8 .* better', said, re.M) and said.count('undecided')>=2
    assert 'Null, second half against first half' in said and 'The handicap was found' in said
    first,second = re.findall(r'^  simpleattn (.*)$', said, re.M)
    assert cli.main(shlex.split(first))==0 and 'twice-epochs against baseline' in capsys.readouterr().out
    cli.read_arguments(cli.study, 'simpleattn study', shlex.split(second)[1:])
    s = load_study('first', 'runs')
    assert shlex.split(second)[:2]==['study', s.arms['baseline'].recipe.name]

@pytest.mark.parametrize('at,said', [('/x/.venv/bin/simpleattn','/x/.venv/bin/simpleattn'), ('/x/site-packages/simpleattn/__main__.py','python -m simpleattn'), ('/x/pytest','simpleattn')])
def test_a_command_is_said_as_it_can_be_typed(there, monkeypatch, at, said):
    from simpleattn.study import load_study
    monkeypatch.setattr(sys, 'argv', [at])
    monkeypatch.setattr(cli.shutil, 'which', lambda name: None)
    command = cli.demo_text(load_study('first', 'runs')).split('\n')[-2].strip().split(' compare ')[0]
    assert os.path.abspath(command)==said if said.startswith('/') else command==said
