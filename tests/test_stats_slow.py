"What the statistics gain and avoid beyond the error rates of benchmarks/calibration.py, by simulation through the public functions; seeds are fixed, bounds leave the noise of the draw"
import sys
import numpy as np, pytest
from scipy import special as sp
from conftest import ROOT
from simpleattn.plan import prefixes
from simpleattn.stats import compare

sys.path.insert(0, str(ROOT/'benchmarks'))
from calibration import draw

pytestmark = pytest.mark.slow

def shares(f, studies): return np.mean([f(o) for o in studies], axis=0)

def test_pairing_gains_power():
    studies = draw(np.random.default_rng(2), 1000, 10, correlation=.6, gain=.0075)
    paired, welch = shares(lambda o: [compare(*o, paired=how).verdict == 'better' for how in (None, False)], studies)
    assert paired == pytest.approx(.88, abs=.04) and welch == pytest.approx(.58, abs=.06)

@pytest.mark.parametrize('noise', ['skewed', 't4'])
def test_the_signflip_p_errs_no_more_than_it_says(noise):
    studies = draw(np.random.default_rng(1), 2000, 10, correlation=.5, noise=noise, images=3925)
    assert .025 < shares(lambda o: compare(*o, n_images=3925).p_signflip < .05, studies) <= .065

def test_peeking_errs_where_the_race_does_not():
    def named(d): n, mean, sd = prefixes(d); return (2*sp.stdtr(n-1, -abs(mean)/sd*np.sqrt(n)) < .05).any()
    assert shares(named, np.random.default_rng(6).normal(0, .01, (3000, 30))) == pytest.approx(.27, abs=.03)
