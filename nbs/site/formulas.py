"Formulas of markdown as drawings that need no script and no network"
import re
from html import escape

CODE = re.compile(r'(```.*?```|`[^`\n]*`)', re.S)
FORMULA = re.compile(r'\$\$(?P<display>.+?)\$\$|(?<![\w\\$])\$(?!\s)(?P<inline>[^$\n]+?)(?<!\s)\$(?![\w$])', re.S)

def with_formulas(
    text:str # Markdown
)->str:
    "The same with every formula drawn; code stays as it is"
    parts = CODE.split(text)
    parts[::2] = [FORMULA.sub(_of_match, o) for o in parts[::2]]
    return ''.join(parts)

def _of_match(found):
    if found['inline']: return drawn(found['inline'])
    return f'\n\n<p class="tex">{drawn(" ".join(found["display"].split()))}</p>\n\n'

def drawn(
    tex:str # Without its dollars
)->str: # An <svg> in the colour and size of the text; raises `ValueError` for what matplotlib cannot set
    "A formula as one path"
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import MathTextParser
    from matplotlib.textpath import TextPath
    em, set_as = 100, f'${_understood(tex)}$'
    font = FontProperties(math_fontfamily='cm', size=em)
    width,height,depth,*_ = MathTextParser('path').parse(set_as, dpi=72, prop=font)
    path = TextPath((0,0), set_as, size=em, prop=font)
    size = f'width:{width/em:.3f}em;height:{height/em:.3f}em;vertical-align:{-depth/em:.3f}em'
    box = f'0 {depth-height:.0f} {width:.0f} {height:.0f}'
    return f'<svg class="tex" role="img" aria-label="{escape(tex)}" viewBox="{box}" style="{size}"><path transform="scale(1,-1)" d="{_d(path)}"></path></svg>'

def _understood(tex):
    "In the words of matplotlib: the root of one letter has braces, and large parentheses are as the others"
    return re.sub(r'\\[bB]igg?(?=[()\[\]|])', '', re.sub(r'\\sqrt (\w)', r'\\sqrt{\1}', tex))

_letters = {1:'M', 2:'L', 3:'Q', 4:'C', 79:'Z'} # of matplotlib's codes

def _d(path):
    "A matplotlib path in the words of SVG"
    def step(vertices, code): return _letters[int(code)] + ('' if code==79 else ' '.join(f'{o:.1f}' for o in vertices))
    return ''.join(step(*o) for o in path.iter_segments(curves=True, simplify=False))
