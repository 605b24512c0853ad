"""A chat window of Qt: answers in Markdown as they arrive, images by drag or dialog, and a button that stops.

    pip install PySide6-Essentials
    python chat_qt.py

Return asks, Esc stops, and closing the window ends the request. Without ANTHROPIC_API_KEY, an emulator answers.
"""

import os
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PySide6 import QtGui, QtWidgets
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from anthropix_actors import AnthropixError, ChatRef, Client, content
from anthropix_actors.emulator import Emulator, Pace
from anthropix_actors.messages import ChatCancelled, ChatDone, ChatEvent, ChatFailed, ChatMessage, ChatRetrying
from anthropix_actors.subscribers import to_qt
from anthropix_actors.usage import Usage

MODEL = "claude-sonnet-5"
STYLE = """
QWidget { background: white; color: #1f2328; font-size: 14px }
QScrollArea { border: none }
QLineEdit { border: 1px solid #c4c9d0; border-radius: 8px; padding: 8px 10px }
QLineEdit:focus { border-color: #0b57d0 }
QPushButton { background: #f2f4f7; border: none; border-radius: 8px; padding: 9px 18px }
QPushButton:hover { background: #e3e7ec }
#button { background: #0b57d0; color: white }
#question { background: #e8f0fe; border-radius: 10px; padding: 10px 14px; margin-left: 120px }
#picture { margin-left: 120px }
#code { background: #f2f4f7; border: none; border-radius: 8px; padding: 8px 10px; font: 13px monospace }
#note { color: #b3261e }
#status { color: #57606a; font-size: 12px }
"""

# A block of Markdown: fenced code, or text up to where something else begins. Only the last one can still grow.
BLOCK = re.compile(r"```.*?(?:^```[ \t]*\n|\Z)|.+?(?:\n{2,}(?=[^\s\d*+-])|(?=^```)|\Z)", re.DOTALL | re.MULTILINE)


class Code(QtWidgets.QPlainTextEdit):
    """A block of code: as high as its lines, and quick to draw again."""

    def __init__(self) -> None:
        super().__init__(readOnly=True, lineWrapMode=self.LineWrapMode.NoWrap, objectName="code")
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def show_text(self, text: str) -> None:
        self.setPlainText(text)
        self.setFixedHeight(self.fontMetrics().lineSpacing() * self.blockCount() + 34)


class Page(QtWidgets.QScrollArea):
    """What was said: a label for each block. Of the Markdown that arrives, only the open block is drawn again."""

    def __init__(self) -> None:
        super().__init__(widgetResizable=True)
        inside = QWidget()
        self.column = QVBoxLayout(inside)
        self.column.setSpacing(12)
        self.column.addStretch()
        self.setWidget(inside)
        self.open, self.at_end = "", True
        self.growing: Any = None
        self.verticalScrollBar().rangeChanged.connect(self.follow)

    def add(self, text: str) -> None:
        """Draw more of an answer."""
        *whole, self.open = BLOCK.findall(self.open + text)
        for block in whole:
            self.draw(block)
            self.growing = None
        self.draw(self.open)

    def draw(self, block: str) -> None:
        is_code = block.startswith("```")
        if self.growing is not None and isinstance(self.growing, Code) != is_code:
            self.growing.deleteLater()  # it turned out to be something else
            self.growing = None
        if self.growing is None:
            self.growing = self.add_widget(Code()) if is_code else self.label("answer")
        if is_code:
            self.growing.show_text("\n".join(block.rstrip("`\n").splitlines()[1:]))
        else:
            self.growing.setTextFormat(Qt.TextFormat.MarkdownText)
            self.growing.setText(block)

    def say(self, text: str, kind: str, images: list[Path] | None = None) -> None:
        """Draw a question or a note; what follows is a block of its own."""
        for path in images or []:
            picture = QtGui.QPixmap(str(path))
            if not picture.isNull():
                small = picture.scaledToWidth(min(320, picture.width()), Qt.TransformationMode.SmoothTransformation)
                self.label("picture").setPixmap(small)
        self.label(kind).setText(text)
        self.open, self.growing = "", None

    def label(self, kind: str) -> QLabel:
        label = QLabel(objectName=kind, wordWrap=True, openExternalLinks=True)
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        return self.add_widget(label)

    def add_widget(self, widget: Any) -> Any:
        bar = self.verticalScrollBar()
        self.at_end = bar.value() == bar.maximum()
        self.column.insertWidget(self.column.count() - 1, widget)
        return widget

    def follow(self, _: int, end: int) -> None:
        """Keep the end in sight, unless somebody has scrolled back."""
        if self.at_end:
            self.verticalScrollBar().setValue(end)


class Chat(QWidget):
    """A conversation: each question is a request of its own, with all that was said before."""

    def __init__(self, claude: Client) -> None:
        super().__init__(windowTitle="Chat", acceptDrops=True, styleSheet=STYLE)
        self.claude = claude
        self.chat: ChatRef | None = None
        self.messages: list[Any] = []
        self.images: list[Path] = []
        self.answer, self.usage = "", Usage()
        self.subscriber = to_qt(self, self.show_message)
        self.page, self.status = Page(), QLabel(MODEL, objectName="status")
        self.entry = QLineEdit(placeholderText="Ask, or drop an image here", acceptDrops=False)
        self.button, image = QPushButton("Ask", objectName="button"), QPushButton("Image…")
        row, column = QHBoxLayout(), QVBoxLayout(self)
        for widget in (image, self.entry, self.button):
            row.addWidget(widget)
        column.addWidget(self.page)
        column.addLayout(row)
        column.addWidget(self.status)
        image.clicked.connect(self.choose)
        self.button.clicked.connect(self.press)
        self.entry.returnPressed.connect(self.ask)
        QtGui.QShortcut(QtGui.QKeySequence("Esc"), self, self.stop)
        self.entry.setFocus()

    def closeEvent(self, event: QtGui.QCloseEvent) -> None:  # noqa: N802 - Qt's name; and so below
        """End the chat: Qt itself only hides the window."""
        self.subscriber.close()
        super().closeEvent(event)

    def dragEnterEvent(self, event: QtGui.QDragEnterEvent) -> None:  # noqa: N802
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QtGui.QDropEvent) -> None:  # noqa: N802
        self.attach(*(Path(url.toLocalFile()) for url in event.mimeData().urls()))

    def choose(self) -> None:
        paths, _ = QtWidgets.QFileDialog.getOpenFileNames(self, filter="Images (*.png *.jpg *.jpeg *.gif *.webp)")
        self.attach(*map(Path, paths))

    def attach(self, *paths: Path) -> None:
        self.images += paths
        self.status.setText("With the next question: " + ", ".join(path.name for path in self.images))

    def press(self) -> None:
        (self.stop if self.chat else self.ask)()

    def stop(self) -> None:
        if self.chat:
            self.chat.cancel("Stop was pressed")

    def ask(self) -> None:
        question = self.entry.text().strip()
        if self.chat or not question:
            return
        images, self.images, self.answer = self.images, [], ""
        self.page.say(question, "question", images)
        try:
            blocks = [*map(content.image, images), content.text(question)]
            said = [*self.messages, {"role": "user", "content": blocks}]
            self.chat = self.claude.chat(model=MODEL, messages=said, stream=self.subscriber)
        except AnthropixError as error:  # such as a file that is no image: nothing was sent
            self.page.say(str(error), "note")
        else:
            self.messages = said
            self.entry.clear()
            self.button.setText("Stop")
            self.status.setText(f"{MODEL} answers. Esc stops it.")

    def show_message(self, message: ChatMessage) -> None:
        """Draw what the chat tells; called in Qt's thread."""
        match message:
            case ChatEvent(data={"delta": {"type": "text_delta", "text": str(text)}}) if text:
                self.answer += text
                self.page.add(text)
            case ChatRetrying(delay=delay, error=error):
                self.status.setText(f"Once more in {delay:.1f} s: {error}")
            case ChatDone(message=answer):
                self.end(message, answer["content"], answer["stop_reason"])
            case ChatFailed(error=error):
                self.end(message, self.answer, str(error))  # it names the request
            case ChatCancelled(reason=reason):
                self.end(message, self.answer, reason)

    def end(self, message: ChatDone | ChatFailed | ChatCancelled, answer: Any, why: str | None) -> None:
        """Keep what was answered for the next question; where nothing was, that takes this one's place."""
        self.messages = [*self.messages, {"role": "assistant", "content": answer}] if answer else self.messages[:-1]
        self.page.say("" if why == "end_turn" else f"{why}", "note")
        self.usage += message.usage
        self.chat = None
        self.button.setText("Ask")
        self.status.setText(f"{self.usage.input_tokens} tokens read, {self.usage.output_tokens} written")


@contextmanager
def connected() -> Generator[Client]:
    """A client of the API; without a key, one of an emulator on this machine."""
    if {"ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"} & {*os.environ}:
        with Client() as claude:
            yield claude
    else:
        with Emulator(handler=lambda _: Pace(tokens_per_second=40)) as here, Client("any", base_url=here.url) as claude:
            yield claude


def main() -> None:
    with connected() as claude:
        app = QtWidgets.QApplication(sys.argv)
        window = Chat(claude)
        window.resize(760, 700)
        window.show()
        app.exec()


if __name__ == "__main__":
    main()
