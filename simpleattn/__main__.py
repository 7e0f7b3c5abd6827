"`python -m simpleattn` is the command"

def main():
    "The command; Ctrl-C while it is still being imported ends it as Ctrl-C does later, without a traceback"
    try: from simpleattn.cli import main
    except KeyboardInterrupt: return 130
    return main()

if __name__=='__main__': raise SystemExit(main())
