"""Cancel a chat from another thread, and keep what had arrived.

The main thread reads; a timer, as a button would, cancels. The reader wakes at once, wherever it waits.
"""

import threading
import time

from anthropix_actors import CancelledError, Client

QUESTION = "Tell me a very long story about a very patient actor."


def main(patience: float = 1.0) -> None:
    with Client() as client:
        stream = client.chat(
            model="claude-haiku-4-5", messages=[{"role": "user", "content": QUESTION}], max_tokens=8000, stream=True
        )
        pressed = []

        def press() -> None:
            pressed.append(time.perf_counter())
            stream.chat.cancel("somebody pressed the button")

        button = threading.Timer(patience, press)
        button.start()
        try:
            for text in stream.text:
                print(text, end="", flush=True)
        except CancelledError as error:
            took = (time.perf_counter() - pressed[0]) * 1000
            kept = error.partial["content"] if error.partial else []
            print(f"\n-- {error}: the loop ended {took:.1f} ms later; {len(str(kept))} characters are kept")
        else:
            print("\n-- the answer was faster")
        finally:
            button.cancel()
            button.join()


if __name__ == "__main__":
    main()
