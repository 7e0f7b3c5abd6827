"`python -m simpleattn` is the command"

def main():
    "The command; Ctrl-C before it has read its words ends it as later, without a traceback"
    try:
        from simpleattn.cli import main
        return main()
    except KeyboardInterrupt: return 130

if __name__=='__main__': raise SystemExit(main())
