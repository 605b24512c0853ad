"""Ask a question on the command line, and see the answer as it arrives.

    python script.py "Why is the sky blue?"

Ctrl-C ends the program and the request.
"""

import sys

from anthropix_actors import AnthropixError, Client


def main() -> None:
    question = " ".join(sys.argv[1:]) or "Why is the sky blue?"
    try:
        with (
            Client() as client,
            client.chat(
                model="claude-haiku-4-5", messages=[{"role": "user", "content": question}], stream=True
            ) as stream,
        ):
            for text in stream.text:
                print(text, end="", flush=True)
            answer = stream.message()
    except AnthropixError as error:
        sys.exit(f"\n{error}")
    print(f"\n-- {answer['usage']['output_tokens']} tokens, {answer['stop_reason']}")


if __name__ == "__main__":
    main()
