"`python -m simpleattn` is the command"
from simpleattn.cli import main

raise SystemExit(main())
