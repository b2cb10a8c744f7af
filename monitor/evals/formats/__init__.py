"""Result files of eval tools, told apart by content; each reader is a module that turns one file into attempts."""
