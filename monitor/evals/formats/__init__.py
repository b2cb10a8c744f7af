"""Result files of eval tools, detected by content; each reader is a module that turns one file into attempts."""
