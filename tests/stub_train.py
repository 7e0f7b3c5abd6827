"In this process, trainings are the stubs of `stub_runs`"
import sys
import stub_runs
from simpleattn.engines import ends_silently
ends_silently()
sys.modules['simpleattn.train'] = stub_runs
